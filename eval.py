"""Grades a run on problems it never saw: `python eval.py runs/pocket_cube/seed0 [--planner.width 64] [--html]`.

Solves your own problem: `python eval.py solve runs/pocket_cube/seed0 "R U F'"`.
Compares methods: `python eval.py compare configs/comparison/*.py`, then or meanwhile `python eval.py report FOLDER`.
"""

import sys

from jepa.cli import parse_eval, user_errors
from jepa.comparison.command import compare, report_comparison
from jepa.console import print_report, progress
from jepa.page.page import write_page
from jepa.report import evaluate_run, require_writable, write_report
from jepa.runs import load_run
from jepa.solve_command import solve_problems

COMMANDS = {"compare": compare, "report": report_comparison, "solve": solve_problems}


def main() -> None:
    """Runs the command line."""
    with user_errors():
        if command := COMMANDS.get("".join(sys.argv[1:2])):
            sys.exit(command(sys.argv[2:]))
        grade()


def grade() -> None:
    """Grades one run."""
    experiment, folder, output, wants_page = parse_eval(sys.argv[1:])
    run = load_run(folder, experiment)
    require_writable(output)
    with progress() as show:
        report = evaluate_run(run, show)
    path = write_report(report, output)
    print_report(report, experiment.env)
    print(f"\nWritten to {path} and {output / 'records.jsonl'}")
    if wants_page:
        write_page(run, report, output / "page.html")
        print(f"Plans to watch: open {output / 'page.html'} in a browser")


if __name__ == "__main__":
    main()
