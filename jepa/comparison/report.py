"""The report of a comparison: comparison.md, .tex and .csv, cells.jsonl, figures, and the same in a terminal."""

from collections.abc import Sequence
from pathlib import Path

import rich.table
from rich import box
from rich.console import Console

from jepa.comparison.archive import ARCHIVE, Result, archive
from jepa.comparison.figures import write_figures
from jepa.comparison.latex import latex
from jepa.comparison.ledger import ledger
from jepa.comparison.rows import (
    bounds_table,
    costs_table,
    details_table,
    gap,
    head,
    improvements_table,
    sampled_table,
    searched_table,
    solved,
    strict_table,
    success_table,
    transitions_tables,
    value,
)
from jepa.comparison.tables import Column, Table
from jepa.run_log import write_atomic

NOTES = (
    "Solved: share of test problems whose plan the exact verifier accepts, over seeds and problems; in brackets the "
    "95 % interval of a bootstrap over seeds and problems (with one seed, over problems only; where all or none is "
    "solved, Wilson's for as many problems). Bold: the best of a column and all whose interval overlaps its own.",
    "IQM: interquartile mean over all runs, a run being one seed on one domain, with the 95 % interval of a bootstrap "
    "over seeds within each domain; gap: how far runs fall short of solving everything, on average.",
    "Solved strictly: by a plan of the fewest moves; of the problems whose shortest plan is known. "
    "Moves (optimal): mean length of right plans, and of the shortest plans for the same problems. Nodes: predicted or "
    "simulated successors per problem. Seconds per problem are of whole batches. Verifier calls: how often the true "
    "dynamics were asked whether a goal is reached, in all of learning and for a plan; grading is not counted.",
    "Floors and ceilings: what the same search with the same learned cost or policy solves on the true dynamics, of "
    "methods that learn theirs; what random plans with as many nodes solve; and how many of the plans that a method "
    "believes in the verifier rejects.",
)
TABLES = (
    strict_table, details_table, bounds_table, costs_table, improvements_table, searched_table, sampled_table,
)  # fmt: skip
"""What comparison.md has beside what is solved, in this order."""


def write_report(tables: Sequence[Table], results: Sequence[Result], folder: Path) -> list[Path]:
    """Writes all files of the report and returns their paths.

    Args:
      tables: Their numbers.
      results: All cells.
      folder: Output folder of the comparison.
    """
    figures = write_figures(tables, folder)
    notes = [] if figures else ['No figures: they need matplotlib; install it with: pip install -e ".[figures]"']
    contents = {
        "comparison.md": markdown(tables, results, notes),
        "comparison.tex": latex(tables),
        "comparison.csv": ledger(results),
        ARCHIVE: archive(results),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    return [*(folder / name for name in contents), *figures]


def print_report(tables: Sequence[Table], results: Sequence[Result]) -> None:
    """Prints how many problems each method solves, without intervals, and the cells without results."""
    console = Console()
    for table in tables:
        shown = rich.table.Table(title=f"Solved, in %: {table.title}", box=box.SIMPLE_HEAD, padding=0)
        shown.add_column("method", no_wrap=True)
        for column in table.columns:
            text = head(column, table).replace("_", " ")  # Of words, so that it can be broken.
            shown.add_column(text, justify="right", overflow="fold", min_width=len("100.0"))
        for text in ("gap", "seeds") if len(table.columns) > 1 else ("seeds",):
            shown.add_column(text, justify="right", no_wrap=True)
        for method in table.methods:
            cells = [_share(table, method, column) for column in table.columns]
            over_all = [gap(table, method)] if len(table.columns) > 1 else []
            shown.add_row(method, *cells, *over_all, _num_seeds(table, method))
        console.print(shown)
    for result in without_results(results):
        console.print(f"{result.name}: {result.status}", markup=False, highlight=False, soft_wrap=True)


def _share(table: Table, method: str, column: Column) -> str:
    """Returns what is solved, without the cells that are missing, which stand below the table."""
    group = table.groups.get((method, column))
    return value(group.success) if group and group.success else solved(table, method, column, value)


def _num_seeds(table: Table, method: str) -> str:
    """Returns how many seeds of a method are finished: of the domain with the fewest, and of that with the most."""
    groups = (table.groups.get((method, column)) for column in table.columns)
    counts = [len(group.finished) for group in groups if group]
    return "-".join(str(count) for count in sorted({min(counts), max(counts)}))


def without_results(results: Sequence[Result]) -> list[Result]:
    """Returns the cells that have nothing to show."""
    return [result for result in results if result.results is None]


def markdown(tables: Sequence[Table], results: Sequence[Result], notes: Sequence[str]) -> str:
    """Returns the report as Markdown."""
    lines = ["# Comparison", ""]
    for table in tables:
        texts = [success_table(table, "**{}**"), *(make(table) for make in TABLES)]
        for text in texts:
            if text.rows:
                lines += [f"## {text.title}: {table.title}", "", *_markdown_table(text.heads, text.rows), ""]
                lines += [text.note, ""] if text.note else []
    for text in transitions_tables(tables):
        lines += [f"## {text.title}", "", *_markdown_table(text.heads, text.rows), ""]
    if missing := without_results(results):
        rows = [[result.name, result.status, " ".join(result.reason.splitlines()[-2:])] for result in missing]
        lines += ["## Cells without results", "", *_markdown_table(["cell", "status", "reason"], rows), ""]
    jobs = max((result.jobs for result in results), default=1)
    crowd = f"Up to {jobs} cells ran at the same time on a machine, which slows each of them." if jobs > 1 else ""
    return "\n\n".join(["\n".join(lines).rstrip(), *filter(None, (*NOTES, crowd, *notes))]) + "\n"


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(heads), ["---"] * len(heads), *rows]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines]
