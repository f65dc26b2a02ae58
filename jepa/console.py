"""What a person sees in a terminal: progress of long phases, tables of results, one problem with its plan."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from jepa.alarms import ALARMS
from jepa.diagnostics import ROLLOUT_LENGTHS
from jepa.envs.base import Env
from jepa.processes import Watchdog, is_first
from jepa.report import Report

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress(watchdog: Watchdog) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function that shows a phase, how much of it is done and of how much, on stderr; a watchdog hears of it.

    A bar for each phase in a terminal; elsewhere a line now and then, and one for the end of each phase.
    """

    def heard(phase: str, done: int, total: int) -> None:
        watchdog.hear()
        if is_first():
            show(phase, done, total)

    with _bars() if sys.stderr.isatty() and is_first() else contextlib.nullcontext(_show_lines()) as show:
        yield heard


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    columns = ("{task.description:20}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bars:
        tasks = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done)

        yield show


def _show_lines() -> Callable[[str, int, int], None]:
    last_seconds = time.monotonic()

    def show(phase: str, done: int, total: int) -> None:
        nonlocal last_seconds
        if done == total or time.monotonic() - last_seconds > _SECONDS_BETWEEN_LINES:
            last_seconds = time.monotonic()
            print(f"{phase}: {done:,} of {total:,} problems", file=sys.stderr, flush=True)

    return show


def print_report(report: Report, env: Env) -> None:
    """Prints the results, what explains them, one problem with its plan, and the alarms of training."""
    console = Console()
    console.print(_results(report.summary, env))
    console.print(_details(report.summary))
    for text in (_example(report, env), *_example_of_refutation(report)):
        console.print(text, markup=False, highlight=False, soft_wrap=True)  # Proofs are not broken into lines.
    for name in [name for name in report.summary if name.startswith("alarm_") and report.summary[name]]:
        console.print(f"\n[bold red]WARNING[/] {name}: {ALARMS.get(name, 'it stood at the end of its stage')}.")


def _results(summary: dict[str, Any], env: Env) -> Table:
    file = summary["config"]["evaluation"]["problems"]
    origin = f"of {file}" if file else "drawn at random"
    refutable = f", {summary['num_refutable']:,} to be refuted" if "num_refutable" in summary else ""
    title = f"{env.name}: {summary['num_problems']:,} problems {origin}{refutable}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("the same search with", "solved", "95 % interval", "moves", "optimal", "nodes"):
        table.add_column(column, justify="right" if table.columns else "left")
    interval = f"{summary['solved_fraction_95_low']:.1%} - {summary['solved_fraction_95_high']:.1%}"
    rows = [("the learned model", ""), ("the exact model", "exact_model_"), ("random plans", "random_")]
    if "exact_model_solved_fraction" not in summary:
        rows = [(summary["method"], ""), rows[-1]]
    for label, prefix in rows:
        table.add_row(
            label,
            f"{summary[prefix + 'solved_fraction']:.1%}",
            "" if prefix else interval,
            _number(summary[prefix + "mean_plan_length"]),
            _number(summary[prefix + "mean_optimal_length"]),
            f"{summary[prefix + 'mean_nodes_generated']:,.0f}",
        )
    return table


def _details(summary: dict[str, Any]) -> Table:
    claims, lies = summary["claimed_fraction"], summary["false_claim_fraction"]
    rows = _answers(summary) | {
        "plans that claim to reach the goal": f"{claims:.1%}, {lies:.1%} of these falsely" if claims else "none",
        **_latents(summary),
        "planning": f"{summary['seconds_per_problem']:.3f} s per problem in batch",
        "training": f"{summary['training_seconds']:,.0f} s",
        (
            "recorded moves" if "exact_model_solved_fraction" in summary else "moves seen"
        ): f"{summary['num_transitions']:,}",
        "parameters": f"{summary['num_parameters']:,}",
    }
    table = Table(box=None, show_header=False, padding=(0, 2))
    for label, text in rows.items():
        table.add_row(label, text)
    return table


def _latents(summary: dict[str, Any]) -> dict[str, str]:
    """Returns the rows that tell of a world model and its cost, where there is one."""
    if "effective_rank" not in summary:
        return {}
    lengths = ", ".join(map(str, ROLLOUT_LENGTHS))

    def accuracies(name: str) -> str:
        return ", ".join(f"{summary[f'{name}_accuracy_{length}']:.1%}" for length in ROLLOUT_LENGTHS)

    return {
        f"rollouts right after {lengths} moves": accuracies("rollout"),
        "the same, re-encoded before the last": accuracies("reencoded_rollout"),
        "cost and exact distance, Spearman": _number(summary["cost_spearman"], 3),
        "pairs of successors ranked rightly": _share(summary["sibling_ranking_accuracy"]),
        "effective rank of the latents": _number(summary["effective_rank"], 1),
    }


def _answers(summary: dict[str, Any]) -> dict[str, str]:
    """Returns the rows that tell of proof and disproof, where the domain has them."""
    rows = {}
    if "right_answer_fraction" in summary:
        low, high = summary["right_answer_fraction_95_low"], summary["right_answer_fraction_95_high"]
        claimed = _share(summary["refutable_claimed_fraction"])
        rows = {
            "right answers": f"{summary['right_answer_fraction']:.1%} ({low:.1%} - {high:.1%})",
            "the same, exact model and random": f"{_share(summary.get('exact_model_right_answer_fraction'))}, "
            f"{summary['random_right_answer_fraction']:.1%}",
            "solved, of those not to be refuted": _share(summary["solvable_solved_fraction"]),
            "refuted, of those to be refuted": f"{_share(summary['refutable_refuted_fraction'])}, "
            f"{claimed} claimed to be solved",
            "nothing said": _share(summary["unknown_fraction"]),
        }
    if "checked_plan_fraction" in summary:
        rows["plans accepted by another checker"] = _share(summary["checked_plan_fraction"])
    return rows


def _example(report: Report, env: Env, width: int = 80) -> str:
    """Draws a problem of typical length that was solved (any, if none was): start, goal, plan, predicted costs."""
    records, problems = report.records, report.problems
    candidates = np.flatnonzero(records.solved) if records.solved.any() else np.arange(len(records.solved))
    index = candidates[np.argsort(records.plan_lengths[candidates], kind="stable")[len(candidates) // 2]]
    length, optimal = records.plan_lengths[index], records.optimal_lengths[index]
    verdict = "solved" if records.solved[index] else "not solved"
    least = f", where {optimal} are the fewest possible" if optimal >= 0 else ""
    start = env.render(np.asarray(problems.start[index]))
    goal = env.render_goal(jax.tree.map(lambda leaf: np.asarray(leaf[index]), problems.goal))
    names = [env.action_names[action] for action in records.actions[index, :length]]
    costs = [f"{cost:.1f}" for cost in records.predicted_costs[index, : length + 1]]
    lines = [f"\nProblem {index}: {verdict} by {length} moves{least}", "", *beside(start, goal)]
    cell = max(len(text) for text in (*names, *costs)) + 1
    per_line = max(1, (width - 20) // cell)
    for first in range(0, length + 1, per_line):
        for label, texts in (("move", ["", *names]), ("predicted distance", costs)):
            row = "".join(text.rjust(cell) for text in texts[first : first + per_line])
            lines.append(f"{label:19}{row}".rstrip())
    written = report.evidence.written_plans[index]
    return "\n".join(lines if written in (None, names) else [*lines, "", *written])


def _example_of_refutation(report: Report) -> list[str]:
    """Returns what is said of the first problem that is refuted; nothing if none is."""
    refuted = np.flatnonzero(report.evidence.is_refutable & ~report.records.claims_solved)
    return [f"\nProblem {index}: refuted\n\n{report.evidence.refutations[index]}" for index in refuted[:1]]


def beside(start: str, goal: str) -> list[str]:
    """Returns the lines of two drawings next to each other, with their names above."""
    left, right = ["start", *start.splitlines()], ["goal", *goal.splitlines()]
    left, right = (side + [""] * (max(len(left), len(right)) - len(side)) for side in (left, right))
    gap = max(map(len, left)) + 6
    return [*((a.ljust(gap) + b).rstrip() for a, b in zip(left, right, strict=True)), ""]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
