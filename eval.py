"""Grades a run on problems it never saw: `python eval.py runs/pocket_cube/seed0 [--planner.width 64]`."""

import dataclasses
import sys

from jepa.cli import parse_eval, print_report, user_errors
from jepa.report import evaluate_run, write_report
from jepa.runs import load_run, require_same_training


def main() -> None:
    """Runs the command line."""
    with user_errors():
        experiment, folder, output = parse_eval(sys.argv[1:])
        run = load_run(folder)
        require_same_training(run.experiment, experiment, folder)
        run = dataclasses.replace(run, experiment=experiment)
        report = evaluate_run(run, say=lambda text: print(text, end="\r", file=sys.stderr))
        print_report(report)
        print(f"Written to {write_report(report, output)} and {output / 'records.jsonl'}")


if __name__ == "__main__":
    main()
