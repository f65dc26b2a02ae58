"""Figures of a comparison for a paper, as PDF and PNG, in colours that the colour-blind can tell apart."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa.comparison.compute import Point, Sampled, sampled_plans, search_points
from jepa.comparison.tables import (
    SOLVED_SHARES,
    Column,
    Estimate,
    Group,
    Table,
    budgets_of,
    methods_of,
    shares_by_transitions,
)
from jepa.figures.style import COLOURS, LINES, MARKERS, SHARES, Draw, has_matplotlib, label_counts, write_figure
from jepa.statistics import performance_profile


def write_figures(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Writes the figures that the results allow and returns their paths; none without matplotlib.

    Args:
      tables: All tables of the comparison.
      folder: Where to.
    """
    if not has_matplotlib():
        return []
    methods = methods_of(tables)
    broad = [table for table in tables if len(table.columns) > 1] or tables
    looks = {  # The best methods come first, and differ most.
        method: {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[(index + index // len(COLOURS)) % len(MARKERS)],  # Each pair comes once in 64 methods.
            "linestyle": LINES[index // len(COLOURS) % len(LINES)],
            "label": method,
            "zorder": 3 - index / 100,  # The best in front of the others.
        }
        for index, method in enumerate(methods)
    }
    figures = {
        "success_by_transitions": _by_transitions(tables, looks),
        "success_by_nodes": _by_domain(tables, looks, search_points, _draw_nodes, "nodes per problem"),
        "success_by_samples": _by_domain(tables, looks, sampled_plans, _draw_samples, "sampled plans per problem"),
        "performance_profiles": [(table.title, _profiles(table, looks)) for table in broad],
        "probability_of_improvement": [(table.title, _improvements(table)) for table in broad if table.improvements],
    }
    side = _CELL_INCHES * len(methods) + 1.5
    shapes = {
        "probability_of_improvement": {"panel_inches": (side, side)},
        "success_by_transitions": {"panels_per_row": 4},  # Both of a domain stand side by side.
    }
    return [
        path
        for name, panels in figures.items()
        if panels
        for path in write_figure(panels, folder / name, **shapes.get(name, {}))
    ]


_CELL_INCHES = 0.27
"""Side of a cell of a matrix of methods."""
Looks = dict[str, dict[str, Any]]
"""Colour, marker, label and layer by method."""


def _by_transitions(tables: Sequence[Table], looks: Looks) -> list[tuple[str, Draw]]:
    """Returns two panels for each domain: what is solved after how many moves, and what by plans of the fewest moves.

    Domains and methods with a single budget, of which no curve can be drawn, are there only if none has more.
    """
    budgets = budgets_of(tables)
    panels = []
    for domain in [domain for domain in budgets if len(budgets[domain]) > 1] or budgets:
        for name, share in SOLVED_SHARES.items():
            found = {
                method: [(column.num_transitions, estimate) for column, estimate in estimates.items()]
                for method, estimates in shares_by_transitions(tables, domain, share).items()
            }
            if found := {method: points for method, points in found.items() if len(points) > 1} or found:
                panels.append(
                    (f"{domain},\n{name}", _curves(found, looks, _draw_estimates, "transitions learned from"))
                )
    return panels


def _by_domain(
    tables: Sequence[Table],
    looks: Looks,
    points: Callable[[Group], list[Any]],
    draw: Callable[[Any, list[Any], dict[str, Any]], None],
    label: str,
) -> list[tuple[str, Draw]]:
    """Returns a panel for each domain that has points, of the budget with the most of them, the largest of such."""
    found: dict[Column, dict[str, list[Any]]] = {}
    for table in tables:
        for (method, column), group in table.groups.items():
            if group.finished and (shown := points(group)):
                found.setdefault(column, {})[method] = shown
    panels = []
    for domain in sorted({column.domain for column in found}):
        budgets = [column for column in found if column.domain == domain]
        best = max(budgets, key=lambda one: (sum(map(len, found[one].values())), one.num_transitions))
        title = domain if len(budgets) == 1 else f"{domain}, {best.num_transitions:,} transitions"
        panels.append((title, _curves(found[best], looks, draw, label)))
    return panels


def _curves(
    found: Mapping[str, list[Any]], looks: Looks, draw: Callable[[Any, list[Any], dict[str, Any]], None], label: str
) -> Draw:
    """Returns what draws the curves of a panel: solved share by something on a logarithmic axis."""

    def panel(axis: Any) -> None:
        for method, look in looks.items():
            if found.get(method):
                draw(axis, found[method], look)
        axis.set(xscale="log", xlabel=label, ylabel="solved", ylim=(-0.03, 1.03))
        label_counts(axis.xaxis)

    return panel


def _draw_nodes(axis: Any, points: list[Point], look: dict[str, Any]) -> None:
    _draw_estimates(axis, [(point.nodes, point.success) for point in points if point.nodes > 0], look)


def _draw_samples(axis: Any, points: list[Sampled], look: dict[str, Any]) -> None:
    """Draws pass@k, dashed, and what the learned score makes of it."""
    sizes = [one.k for one in points]
    axis.plot(sizes, [one.reranked for one in points], **look | {"linestyle": "-"})
    dashed = look | {"linestyle": "--", "alpha": 0.6, "label": "_pass@k"}
    axis.plot(sizes, [one.passed for one in points], **dashed)


def _draw_estimates(axis: Any, points: Sequence[tuple[float | int, Estimate]], look: dict[str, Any]) -> None:
    if not points:  # A logarithmic axis has no 0, so there may be none left.
        return
    values = np.array([one.value for _, one in points])
    # A bootstrap interval of a share at the border can end a rounding error beyond its own estimate.
    below = np.maximum(0.0, values - [one.low for _, one in points])
    above = np.maximum(0.0, [one.high for _, one in points] - values)
    axis.errorbar([x for x, _ in points], values, yerr=[below, above], capsize=2, **look)


def _profiles(table: Table, looks: Looks) -> Draw:
    def draw(axis: Any) -> None:
        thresholds = np.linspace(0.0, 1.0, 201)
        for method in table.methods:
            rates = [group.rates for (other, _), group in table.groups.items() if other == method and group.finished]
            if rates:
                profile = performance_profile(np.concatenate(rates), thresholds)
                look = {name: value for name, value in looks[method].items() if name != "marker"}
                axis.step(thresholds, profile, where="post", **look)
        axis.set(xlabel="solved share s", ylabel="runs above s", ylim=(-0.03, 1.03))

    return draw


def _improvements(table: Table) -> Draw:
    """Returns the matrix of all pairs, in the order of the table: how often the method of a row beats a column's."""

    def draw(axis: Any) -> None:
        compared = {method for pair in table.improvements for method in (pair.better, pair.worse)}
        places = {method: index for index, method in enumerate(one for one in table.methods if one in compared)}
        percent = np.full((len(places), len(places)), np.nan)
        for pair in table.improvements:
            better, worse = places[pair.better], places[pair.worse]
            percent[better, worse] = 100 * pair.probability.value
            percent[worse, better] = 100 - percent[better, worse]
        axis.imshow(percent, cmap=SHARES, vmin=0, vmax=100)
        for row, column in np.argwhere(np.isfinite(percent)):
            is_dark = abs(percent[row, column] - 50) > 35
            text = {"ha": "center", "va": "center", "fontsize": 6, "color": "white" if is_dark else "black"}
            axis.text(column, row, f"{percent[row, column]:.0f}", **text)
        axis.set_xticks(range(len(places)), places, rotation=90)
        axis.set_yticks(range(len(places)), places)
        axis.grid(False)
        axis.set(ylabel="P(X beats Y), %: X", xlabel="Y")

    return draw
