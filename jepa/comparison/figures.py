"""Figures of a comparison for a paper, as PDF and PNG, in colours that the colour-blind can tell apart."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa.comparison.compute import sampled_plans, search_points
from jepa.comparison.tables import Column, Estimate, Group, Table
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
    methods = list(dict.fromkeys(method for table in tables for method in table.methods))  # The best differ most.
    looks = {
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
        "success_by_nodes": _by_domain(tables, looks, _draw_nodes, "nodes per problem"),
        "success_by_samples": _by_domain(tables, looks, _draw_samples, "sampled plans per problem", sampled_plans),
        "performance_profiles": [(table.title, _profiles(table, looks)) for table in tables],
        "probability_of_improvement": [(table.title, _improvements(table)) for table in tables if table.improvements],
    }
    side = _CELL_INCHES * len(methods) + 1.5
    sizes = {"probability_of_improvement": (side, side)}
    return [
        path
        for name, panels in figures.items()
        if panels
        for path in write_figure(panels, folder / name, sizes.get(name))
    ]


_CELL_INCHES = 0.27
"""Side of a cell of a matrix of methods."""
Looks = dict[str, dict[str, Any]]
"""Colour, marker, label and layer by method."""
Points = list[tuple[Column, Group]]
"""What one method has on one domain."""


def _by_domain(
    tables: Sequence[Table],
    looks: Looks,
    draw: Callable[[Any, Points, dict[str, Any]], None],
    label: str,
    shows: Callable[[Group], Any] = lambda group: True,
) -> list[tuple[str, Draw]]:
    """Returns a panel for each domain where any group shows something: solved share by something on a log axis."""
    panels = []
    for domain in sorted({column.domain for table in tables for column in table.columns}):
        found = {
            method: sorted(
                (
                    (column, group)
                    for table in tables
                    for (other, column), group in table.groups.items()
                    if other == method and column.domain == domain and group.success is not None and shows(group)
                ),
                key=lambda point: point[0].num_transitions,
            )
            for method in looks
        }

        def panel(axis: Any, found: dict[str, Points] = found) -> None:
            for method, points in found.items():
                if points:
                    draw(axis, points, looks[method])
            axis.set(xscale="log", xlabel=label, ylabel="solved", ylim=(-0.03, 1.03))
            label_counts(axis.xaxis)

        if any(found.values()):
            panels.append((domain, panel))
    return panels


def _by_transitions(tables: Sequence[Table], looks: Looks) -> list[tuple[str, Draw]]:
    """Returns a panel for each domain with several budgets; for every domain if there is none with several."""
    panels = _by_domain(tables, looks, _draw_transitions, "recorded transitions")
    budgets = {column for table in tables for column in table.columns}
    counts = Counter(column.domain for column in budgets)
    return [panel for panel in panels if counts[panel[0]] > 1] or panels


def _draw_transitions(axis: Any, points: Points, look: dict[str, Any]) -> None:
    budgets = [column.num_transitions for column, _ in points]
    _draw_points(axis, budgets, points, look)


def _draw_nodes(axis: Any, points: Points, look: dict[str, Any]) -> None:
    """Draws a curve for each budget of transitions; the largest search of a method is where its table stands."""
    for _, group in points:
        found = [point for point in search_points(group) if point.nodes > 0]  # A logarithmic axis has no 0.
        if found:
            _draw_estimates(axis, [point.nodes for point in found], [point.success for point in found], look)
            look = {name: value for name, value in look.items() if name != "label"}


def _draw_samples(axis: Any, points: Points, look: dict[str, Any]) -> None:
    """Draws pass@k, dashed, and what the learned score makes of it, of the largest budget of transitions."""
    if points and (found := sampled_plans(points[-1][1])):
        sizes = [one.k for one in found]
        axis.plot(sizes, [one.reranked for one in found], **look | {"linestyle": "-"})
        dashed = look | {"linestyle": "--", "alpha": 0.6, "label": "_pass@k"}
        axis.plot(sizes, [one.passed for one in found], **dashed)


def _draw_points(axis: Any, x: Sequence[float | int], points: Points, look: dict[str, Any]) -> None:
    _draw_estimates(axis, x, [group.success for _, group in points], look)


def _draw_estimates(axis: Any, x: Sequence[float | int], found: Sequence[Estimate], look: dict[str, Any]) -> None:
    values = np.array([one.value for one in found])
    # A bootstrap interval of a share at the border can end a rounding error beyond its own estimate.
    below = np.maximum(0.0, values - [one.low for one in found])
    above = np.maximum(0.0, [one.high for one in found] - values)
    axis.errorbar(x, values, yerr=[below, above], capsize=2, **look)


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
