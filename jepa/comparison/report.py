"""The report of a comparison: comparison.md, .tex and .csv, cells.jsonl, figures, and the same in a terminal."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import rich.table
from rich import box
from rich.console import Console

from jepa.comparison.archive import ARCHIVE, Result, archive
from jepa.comparison.compute import groups_of, sampled_plans, search_points
from jepa.comparison.figures import write_figures
from jepa.comparison.ledger import ledger
from jepa.comparison.tables import Column, Estimate, Group, Table
from jepa.run_log import write_atomic

DETAILS = ("domain", "method", "solved", "solved strictly", "moves (optimal)", "nodes", "s / problem", "seeds")
"""Columns of the tables of details."""
COSTS = {
    "moves seen": "num_transitions",
    "verifier calls in learning": "training_verifier_calls",
    "verifier calls per plan": "mean_planning_verifier_calls",
    "gradient samples": "num_gradient_samples",
    "parameters": "num_parameters",
    "training s": "training_seconds",
}
"""Columns of the tables of costs, and the numbers in summary.json whose means over seeds they show."""
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
)
SAMPLES_NOTE = (
    "Of k sampled plans per problem, pass@k counts a problem if any is right, which only an oracle could pick; "
    "rerank@k takes the one of the best learned score and consensus@k the most frequent one, without asking. "
    "Who plans on the true dynamics sees when the goal is reached: there rerank@k is pass@k by construction."
)
_PERCENT = "{:.1f}"
Show = Callable[[Estimate], str]


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
        shown = rich.table.Table(title=f"Solved, in %: {table.title}", box=box.SIMPLE_HEAD)
        shown.add_column("method", overflow="fold")
        for column in table.columns:
            shown.add_column(_head(column, table), justify="right")
        for method in table.methods:
            shown.add_row(method, *(solved(table, method, column, _value) for column in table.columns))
        console.print(shown)
    for result in without_results(results):
        console.print(f"{result.name}: {result.status}", markup=False, highlight=False, soft_wrap=True)


def without_results(results: Sequence[Result]) -> list[Result]:
    """Returns the cells that have nothing to show."""
    return [result for result in results if result.results is None]


def markdown(tables: Sequence[Table], results: Sequence[Result], notes: Sequence[str]) -> str:
    """Returns the report as Markdown."""
    lines = ["# Comparison", ""]
    for table in tables:
        heads = [_head(column, table) for column in table.columns]
        rows = [_success_row(table, method, "**{}**") for method in table.methods]
        lines += [f"## Solved, in %: {table.title}", "", *_markdown_table(["method", *heads, "IQM", "gap"], rows)]
        if rows := _strict_rows(table):
            lines += ["", f"## Solved strictly, in %: {table.title}", "", *_markdown_table(["method", *heads], rows)]
        lines += ["", f"## Details: {table.title}", "", *_markdown_table(DETAILS, _detail_rows(table))]
        lines += ["", f"## Costs: {table.title}", "", *_markdown_table(["domain", "method", *COSTS], _cost_rows(table))]
        if rows := _improvement_rows(table):
            heads = ["X", "Y", "P(X beats Y), %", "domains"]
            lines += ["", f"## Who beats whom: {table.title}", "", *_markdown_table(heads, rows)]
        lines += _compute_lines(table)
        lines.append("")
    if missing := without_results(results):
        rows = [[result.name, result.status, " ".join(result.reason.splitlines()[-2:])] for result in missing]
        lines += ["## Cells without results", "", *_markdown_table(["cell", "status", "reason"], rows), ""]
    jobs = max((result.jobs for result in results), default=1)
    crowd = f"Up to {jobs} cells ran at the same time on a machine, which slows each of them." if jobs > 1 else ""
    return "\n\n".join(["\n".join(lines).rstrip(), *filter(None, (*NOTES, crowd, *notes))]) + "\n"


def _compute_lines(table: Table) -> list[str]:
    """Returns the tables of more and less search and of sampled plans, where there is something to compare."""
    searched, sampled = [], []
    for column, method, group in groups_of(table):
        names, points = [_head(column, table), method], search_points(group)
        if len(points) > 1:
            rows = [
                [f"{one.scale:g}", _interval(one.success), f"{one.nodes:,.0f}", str(one.num_seeds)] for one in points
            ]
            searched += [names + row for row in rows]
        for one in sampled_plans(group):
            shares = [_PERCENT.format(100 * share) for share in (one.passed, one.reranked, one.consensus)]
            sampled.append([*names, str(one.k), *shares, f"{one.nodes:,.0f}", str(one.num_seeds)])
    lines = []
    if searched:
        heads = ["domain", "method", "search, times its own", "solved, %", "nodes", "seeds"]
        lines += ["", f"## More and less search: {table.title}", "", *_markdown_table(heads, searched)]
    if sampled:
        heads = ["domain", "method", "k", "pass@k, % (oracle)", "rerank@k, %", "consensus@k, %", "nodes", "seeds"]
        lines += ["", f"## Sampled plans: {table.title}", "", *_markdown_table(heads, sampled), "", SAMPLES_NOTE]
    return lines


def _detail_rows(table: Table) -> list[list[str]]:
    rows = []
    for column in table.columns:
        for method in table.methods:
            if group := table.groups.get((method, column)):
                rows.append([_head(column, table), method, *_details(table, method, column, group)])
    return rows


def _details(table: Table, method: str, column: Column, group: Group) -> list[str]:
    moves, optimal = group.lengths
    return [
        solved(table, method, column, _interval),
        _interval(group.strict_success) if group.strict_success else "-",
        f"{_number(moves, '{:.2f}')} ({_number(optimal, '{:.2f}')})",
        _number(group.mean("mean_nodes_generated"), "{:,.0f}"),
        _number(group.mean("seconds_per_problem"), "{:.4f}"),
        f"{len(group.finished)} of {len(group.results)}",
    ]


def _cost_rows(table: Table) -> list[list[str]]:
    return [
        [_head(column, table), method, *(_number(group.mean(field), "{:,.0f}") for field in COSTS.values())]
        for column, method, group in groups_of(table)
    ]


def _success_row(table: Table, method: str, bold: str) -> list[str]:
    def show_best(estimate: Estimate) -> str:
        return _interval(estimate).replace(_value(estimate), bold.format(_value(estimate)), 1)

    cells = [
        solved(table, method, column, show_best if method in table.best(column) else _interval)
        for column in table.columns
    ]
    aggregate = table.aggregates[method]
    if aggregate is None:
        return [method, *cells, "-", "-"]
    planned = {result.seed for group in table.groups.values() for result in group.results}
    seeds = "" if aggregate.num_seeds == len(planned) else f" ({aggregate.num_seeds} of {len(planned)} seeds)"
    return [method, *cells, _interval(aggregate.iqm) + seeds, _PERCENT.format(100 * aggregate.gap)]


def _strict_rows(table: Table) -> list[list[str]]:
    """Returns who solves how much by plans of the fewest moves, the best first; nothing where none is known."""
    found = {method: [table.groups.get((method, column)) for column in table.columns] for method in table.methods}
    shares = {method: [group and group.strict_success for group in groups] for method, groups in found.items()}
    shares = {method: row for method, row in shares.items() if any(row)}

    def mean(method: str) -> float:
        known = [one.value for one in shares[method] if one]
        return sum(known) / len(known)

    order = sorted(shares, key=lambda method: -mean(method))
    return [[method, *(_interval(one) if one else "-" for one in shares[method])] for method in order]


def _improvement_rows(table: Table) -> list[list[str]]:
    return [[one.better, one.worse, _interval(one.probability), str(one.num_columns)] for one in table.improvements]


def solved(table: Table, method: str, column: Column, show: Show) -> str:
    """Returns what a table shows of a method in a column: never nothing where cells are missing or have failed.

    Args:
      table: The table.
      method: Row.
      column: Column.
      show: Writes the share that is solved.
    """
    group = table.groups.get((method, column))
    if group is None:
        return "-"
    missing = Counter(result.status for result in group.results if result.results is None)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(missing.items()))
    if group.success is None:
        return listed
    return show(group.success) + (f" ({listed})" if listed else "")


def _value(estimate: Estimate) -> str:
    """Returns a share in percent."""
    return _PERCENT.format(100 * estimate.value)


def _interval(estimate: Estimate) -> str:
    """Returns a share in percent with its interval, if it has one."""
    if math.isnan(estimate.low):
        return _value(estimate)
    return f"{_value(estimate)} [{_PERCENT.format(100 * estimate.low)}, {_PERCENT.format(100 * estimate.high)}]"


def _number(value: float, pattern: str) -> str:
    return "-" if math.isnan(value) else pattern.format(value)


def _head(column: Column, table: Table) -> str:
    """Returns the head of a column, with the budget unless all have the same."""
    same = len({other.num_transitions for other in table.columns}) == 1
    return column.domain if same else f"{column.domain}, {column.num_transitions:,}"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(head), ["---"] * len(head), *rows]
    return [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines]


def latex(tables: Sequence[Table]) -> str:
    r"""Returns the tables for `\usepackage{booktabs}`, ready for `\input`."""
    parts = ["% Made by `python eval.py report`; needs \\usepackage{booktabs}."]
    for table in tables:
        heads = ["method", *(_head(column, table) for column in table.columns), "IQM", "gap"]
        # Bold is applied to numbers alone, which need no escapes, so that everything can be escaped afterwards.
        rows = [_success_row(table, method, "<b>{}</b>") for method in table.methods]
        caption = f"Solved test problems in %, with 95 % intervals over seeds and problems; {table.title}."
        parts.append(_latex_table(heads, rows, caption, f"l{'r' * (len(heads) - 1)}"))
        caption = f"Plans; {table.title}."
        parts.append(_latex_table(DETAILS, _detail_rows(table), caption, f"ll{'r' * (len(DETAILS) - 2)}"))
        caption = f"What learning and plans cost; {table.title}."
        heads = ["domain", "method", *COSTS]
        parts.append(_latex_table(heads, _cost_rows(table), caption, f"ll{'r' * len(COSTS)}"))
    return "\n\n".join(parts) + "\n"


def _latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, alignment: str) -> str:
    lines = [" & ".join(_latex_cell(text) for text in row) + r" \\" for row in (head, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cell(text: str) -> str:
    return escape_latex(text).replace("<b>", r"\textbf{").replace("</b>", "}")


def escape_latex(text: str) -> str:
    r"""Returns text that LaTeX prints as it is, such as `100\,\% of sliding\_tiles`."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
