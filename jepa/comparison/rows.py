"""The tables of a report as text, before they are Markdown or LaTeX."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence

from jepa.comparison.compute import groups_of, sampled_plans, search_points
from jepa.comparison.tables import SOLVED_SHARES, Column, Estimate, Group, Table, budgets_of, shares_by_transitions

COSTS = {
    "moves seen": "num_transitions",
    "verifier calls in learning": "training_verifier_calls",
    "verifier calls per plan": "mean_planning_verifier_calls",
    "gradient samples": "num_gradient_samples",
    "parameters": "num_parameters",
    "training s": "training_seconds",
}
"""Columns of the tables of costs, and the numbers in summary.json whose means over seeds they show."""
BOUNDS = {
    "same search on true dynamics, %": "exact_model_solved_fraction",
    "random plans, as many nodes, %": "random_solved_fraction",
    "false claims, %": "false_claim_fraction",
}
"""Columns of the tables of floors and ceilings, and the shares in summary.json whose means over seeds they show."""
SAMPLES_NOTE = (
    "Of k sampled plans per problem, pass@k counts a problem if any is right, which only an oracle could pick; "
    "rerank@k takes the one of the best learned score and consensus@k the most frequent one, without asking. "
    "The temperature was chosen on other problems, for each method and seed. "
    "Who plans on the true dynamics sees when the goal is reached: there rerank@k is pass@k by construction."
)
_PERCENT = "{:.1f}"
Show = Callable[[Estimate], str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of which only the typesetting is missing."""

    title: str
    """What it shows, without the budget."""
    heads: tuple[str, ...]
    """One for each column."""
    num_labels: int
    """Columns of names, at the left."""
    rows: list[list[str]]
    """As many texts each as there are heads; none where there is nothing to show."""
    note: str = ""
    """What has to be said of it."""


def success_table(table: Table, bold: str) -> TextTable:
    """Returns what each method solves in each column, and over all of them if there are several.

    Args:
      table: Its numbers.
      bold: How the best of a column are written, such as `**{}**`.
    """
    heads = ("method", *_heads(table), *(("IQM", "gap") if len(table.columns) > 1 else ()))
    rows = [_success_row(table, method, bold) for method in table.methods]
    return TextTable(title="Solved, in %", heads=heads, num_labels=1, rows=rows)


def _success_row(table: Table, method: str, bold: str) -> list[str]:
    def show_best(estimate: Estimate) -> str:
        return interval(estimate).replace(value(estimate), bold.format(value(estimate)), 1)

    cells = [
        solved(table, method, column, show_best if method in table.best(column) else interval)
        for column in table.columns
    ]
    if len(table.columns) < 2:
        return [method, *cells]
    aggregate = table.aggregates[method]
    if aggregate is None:
        return [method, *cells, "-", gap(table, method)]
    planned = {result.seed for group in table.groups.values() for result in group.results}
    seeds = "" if aggregate.num_seeds == len(planned) else f" ({aggregate.num_seeds} of {len(planned)} seeds)"
    return [method, *cells, interval(aggregate.iqm) + seeds, gap(table, method)]


def gap(table: Table, method: str) -> str:
    """Returns how far a method falls short of solving everything, on average; nothing where a column is missing."""
    aggregate = table.aggregates[method]
    return "-" if aggregate is None else _PERCENT.format(100 * aggregate.gap)


def strict_table(table: Table) -> TextTable:
    """Returns who solves how much by plans of the fewest moves, the best first; nothing where none is known."""
    found = {method: [table.groups.get((method, column)) for column in table.columns] for method in table.methods}
    shares = {method: [group and group.strict_success for group in groups] for method, groups in found.items()}
    shares = {method: row for method, row in shares.items() if any(row)}

    def mean(method: str) -> float:
        known = [one.value for one in shares[method] if one]
        return sum(known) / len(known)

    order = sorted(shares, key=lambda method: -mean(method))
    rows = [[method, *(interval(one) if one else "-" for one in shares[method])] for method in order]
    return TextTable(title="Solved strictly, in %", heads=("method", *_heads(table)), num_labels=1, rows=rows)


def details_table(table: Table) -> TextTable:
    """Returns how good the plans are, and what they take."""
    heads = ("domain", "method", "solved", "solved strictly", "moves (optimal)", "nodes", "s / problem", "seeds")
    rows = [
        [head(column, table), method, *_details(table, method, column, table.groups[method, column])]
        for column in table.columns
        for method in table.methods
        if (method, column) in table.groups
    ]
    return TextTable(title="Details", heads=heads, num_labels=2, rows=rows)


def _details(table: Table, method: str, column: Column, group: Group) -> list[str]:
    moves, optimal = group.lengths
    return [
        solved(table, method, column, interval),
        interval(group.strict_success) if group.strict_success else "-",
        f"{_number(moves, '{:.2f}')} ({_number(optimal, '{:.2f}')})",
        _number(group.mean("mean_nodes_generated"), "{:,.0f}"),
        _number(group.mean("seconds_per_problem"), "{:.4f}"),
        f"{len(group.finished)} of {len(group.results)}",
    ]


def bounds_table(table: Table) -> TextTable:
    """Returns the floor and, where dynamics are learned, the ceiling of what each method solves."""
    rows = []
    for column, method, group in groups_of(table):
        bounds = [100 * group.mean(field) for field in BOUNDS.values()]
        if not all(map(math.isnan, bounds)):
            shown = [_number(share, _PERCENT) for share in bounds]
            rows.append([head(column, table), method, value(group.success), *shown])
    heads = ("domain", "method", "solved, %", *BOUNDS)
    return TextTable(title="Floors and ceilings", heads=heads, num_labels=2, rows=rows)


def costs_table(table: Table) -> TextTable:
    """Returns what learning and plans cost."""
    rows = [
        [head(column, table), method, *(_number(group.mean(field), "{:,.0f}") for field in COSTS.values())]
        for column, method, group in groups_of(table)
    ]
    return TextTable(title="Costs", heads=("domain", "method", *COSTS), num_labels=2, rows=rows)


def improvements_table(table: Table) -> TextTable:
    """Returns who beats whom, a row for each pair that has a column in common."""
    rows = [[one.better, one.worse, interval(one.probability), str(one.num_columns)] for one in table.improvements]
    return TextTable(title="Who beats whom", heads=("X", "Y", "P(X beats Y), %", "domains"), num_labels=2, rows=rows)


def searched_table(table: Table) -> TextTable:
    """Returns what more and less search solves, of methods that were graded with several sizes."""
    rows = []
    for column, method, group in groups_of(table):
        points = search_points(group)
        if len(points) > 1:
            rows += [
                [
                    head(column, table), method, f"{one.scale:g}", interval(one.success), f"{one.nodes:,.0f}",
                    str(one.num_seeds),
                ]
                for one in points
            ]  # fmt: skip
    heads = ("domain", "method", "search, times its own", "solved, %", "nodes", "seeds")
    return TextTable(title="More and less search", heads=heads, num_labels=2, rows=rows)


def sampled_table(table: Table) -> TextTable:
    """Returns what k sampled plans are worth, picked by an oracle, by learned scores, or by how frequent they are."""
    rows = []
    for column, method, group in groups_of(table):
        for one in sampled_plans(group):
            shares = [_PERCENT.format(100 * share) for share in (one.passed, one.reranked, one.consensus)]
            temperatures = ", ".join(f"{temperature:g}" for temperature in one.temperatures)
            rest = [f"{one.nodes:,.0f}", temperatures, str(one.num_seeds)]
            rows.append([head(column, table), method, str(one.k), *shares, *rest])
    shares = ("pass@k, % (oracle)", "rerank@k, %", "consensus@k, %")
    heads = ("domain", "method", "k", *shares, "nodes", "temperature", "seeds")
    return TextTable(title="Sampled plans", heads=heads, num_labels=2, rows=rows, note=SAMPLES_NOTE)


def transitions_tables(tables: Sequence[Table]) -> list[TextTable]:
    """Returns, for each domain with several budgets, what methods with several of them solve, and what strictly."""
    texts = []
    for domain, columns in budgets_of(tables).items():
        for name, share in SOLVED_SHARES.items():
            found = shares_by_transitions(tables, domain, share)
            rows = [
                [method, *(interval(shares[column]) if column in shares else "-" for column in columns)]
                for method, shares in found.items()
                if len(shares) > 1
            ]
            heads = ("method", *(f"{column.num_transitions:,}" for column in columns))
            title = f"{domain} by transitions: {name}, in %"
            texts.append(TextTable(title=title, heads=heads, num_labels=1, rows=rows))
    return [text for text in texts if text.rows]


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


def value(estimate: Estimate) -> str:
    """Returns a share in percent."""
    return _PERCENT.format(100 * estimate.value)


def interval(estimate: Estimate) -> str:
    """Returns a share in percent with its interval, if it has one."""
    if math.isnan(estimate.low):
        return value(estimate)
    return f"{value(estimate)} [{_PERCENT.format(100 * estimate.low)}, {_PERCENT.format(100 * estimate.high)}]"


def head(column: Column, table: Table) -> str:
    """Returns the head of a column, with the budget unless all have the same."""
    same = len({other.num_transitions for other in table.columns}) == 1
    return column.domain if same else f"{column.domain}, {column.num_transitions:,}"


def _heads(table: Table) -> Sequence[str]:
    return [head(column, table) for column in table.columns]


def _number(number: float, pattern: str) -> str:
    return "-" if math.isnan(number) else pattern.format(number)
