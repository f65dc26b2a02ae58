"""Trains an experiment: `python train.py configs/pocket_cube.py [--any.field value]`; again, to resume."""

import sys

from jepa.cli import parse_train, user_errors
from jepa.runs import train


def main() -> None:
    """Runs the command line."""
    with user_errors():
        experiment, folder = parse_train(sys.argv[1:])
        train(experiment, folder, say=lambda text: print(text, file=sys.stderr, flush=True))
        print(f"The run is in {folder}; grade it with: python eval.py {folder}")


if __name__ == "__main__":
    main()
