"""Trains an experiment: `python train.py configs/pocket_cube.py [--any.field value]`; again, to resume."""

import sys

from jepa.cli import parse_train, user_errors
from jepa.processes import is_first, join
from jepa.runs import train


def main() -> None:
    """Runs the command line."""
    with user_errors():
        command = parse_train(sys.argv[1:])
        join(command.processes)
        train(
            command.experiment,
            command.run_dir,
            say=lambda text: print(text, file=sys.stderr, flush=True),
            seconds_between_checkpoints=command.seconds_between_checkpoints,
            watchdog_seconds=command.processes.watchdog_seconds,
            world_model_from=command.world_model_from,
        )
        if is_first():
            print(f"The run is in {command.run_dir}; grade it with: python eval.py {command.run_dir}")


if __name__ == "__main__":
    main()
