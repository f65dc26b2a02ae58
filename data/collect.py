"""Records random moves without rewards: `python data/collect.py configs/pocket_cube.py [--any.field value]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jepa.cli import parse_train, user_errors  # noqa: E402
from jepa.dataset import collect  # noqa: E402
from jepa.runs import DATA_ROOT  # noqa: E402


def main() -> None:
    """Runs the command line."""
    with user_errors():
        experiment = parse_train(sys.argv[1:]).experiment
        folder = collect(experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed, DATA_ROOT)
        print(f"{experiment.num_transitions:,} recorded moves of {experiment.env.name} are in {folder}")


if __name__ == "__main__":
    main()
