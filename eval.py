"""Grades a run on problems it never saw: `python eval.py runs/pocket_cube/seed0 [--planner.width 64] [--html]`.

Solves your own problem: `python eval.py solve runs/pocket_cube/seed0 "R U F'"`.
Grades more and less search: `python eval.py curve runs/pocket_cube/seed0 --num-samples 256`.
Compares methods: `python eval.py compare configs/comparison/*.py`, then or meanwhile `python eval.py report FOLDER`.
"""

import sys

from jepa.cli import parse_eval, user_errors
from jepa.comparison.command import compare, report_comparison
from jepa.console import progress
from jepa.curve_command import grade_compute
from jepa.eval_results import write_results
from jepa.figures.run_figures import require_drawable
from jepa.processes import Watchdog, is_first, join, on_first
from jepa.report import evaluate_run, require_writable
from jepa.runs import load_run
from jepa.solve_command import solve_problems

COMMANDS = {"compare": compare, "curve": grade_compute, "report": report_comparison, "solve": solve_problems}


def main() -> None:
    """Runs the command line."""
    with user_errors():
        if command := COMMANDS.get("".join(sys.argv[1:2])):
            sys.exit(command(sys.argv[2:]))
        grade()


def grade() -> None:
    """Grades one run."""
    command, folder = parse_eval(sys.argv[1:])
    join(command.processes)
    run = load_run(folder, command.experiment)
    on_first(lambda: require_writable(command.output_dir))
    if command.figures:
        require_drawable(run)
    with Watchdog(command.processes.watchdog_seconds) as watchdog, progress(watchdog) as show:
        report = evaluate_run(run, show)
    if is_first():
        write_results(report, run, command)


if __name__ == "__main__":
    main()
