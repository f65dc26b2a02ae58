"""Makes a trained agent of the package from a graded run: `python -m jepa.weights_command RUN NAME`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jepa import pretrained
from jepa.cli import user_errors
from jepa.run_config import read_config, read_json
from jepa.runs import load_run

USAGE = """usage: python -m jepa.weights_command RUN NAME

RUN is a run folder that eval.py has graded; NAME is one such as pocket_cube."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command line."""
    if len(arguments) != 2 or not arguments[1].isidentifier():
        asked = bool(set(arguments) & {"-h", "--help"})
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    with user_errors():
        folder = Path(arguments[0])
        run = load_run(folder, read_config(folder))
        if not (folder / "summary.json").is_file():
            raise ValueError(f"{folder} is not graded yet; run `python eval.py {folder}`")
        pretrained.save_pretrained(run, read_json(folder / "summary.json"), pretrained.FOLDER / arguments[1])
        print(f"Written to {pretrained.FOLDER / arguments[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
