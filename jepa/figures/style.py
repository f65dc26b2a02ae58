"""One style for all figures: vector PDF and PNG, in colours that the colour-blind can tell apart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Of Okabe and Ito (2008), "Color universal design"."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""So that methods differ in print without colours as well."""
LINES = ("-", "--", ":")
"""For those whose colours come again."""
DISTANCES = "viridis_r"
"""Colours of distances, far ones dark: of one falling lightness, so that they survive grey print."""
SHARES = "PuOr"
"""Colours of shares that are more or less than a half, which is white."""
STYLE = {
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4.0,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.hashsalt": "jepa",
}
_PANEL_INCHES = (2.6, 2.1)
_HANDLE_INCHES, _LETTER_INCHES = 0.6, 0.068  # Of a column of the legend: what it has beside letters, and each of these.
_LINE_INCHES = 0.17  # Of a line of the legend.
_LEGEND_SHARE = 0.5  # A legend below a single panel may have this share of its height; a longer one stands beside it.

Draw = Callable[[Any], None]
"""Draws into the axes of a panel."""


def has_matplotlib() -> bool:
    """Returns whether figures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def require_matplotlib() -> None:
    """Raises ValueError, which says what to install, if figures cannot be drawn."""
    if not has_matplotlib():
        raise ValueError(
            "figures need matplotlib, which is not installed: pip install matplotlib, or the extra `figures`"
        )


def label_counts(axis: Any) -> None:
    """Labels a logarithmic axis of counts as 300, 1k, 3M: few and short, so that they do not run into each other."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.set_minor_formatter(NullFormatter())


def write_figure(
    panels: Sequence[tuple[str, Draw]],
    stem: Path,
    panel_inches: tuple[float, float] | None = None,
    panels_per_row: int = 3,
) -> list[Path]:
    """Writes a figure of panels with titles, without pyplot, which would choose a display; returns its PDF and PNG.

    Args:
      panels: the title of each, and what draws it.
      stem: the files without their suffixes.
      panel_inches: width and height of each; the usual ones if not given, which are larger for one alone.
      panels_per_row: how many stand side by side, at most.
    """
    import matplotlib
    from matplotlib.figure import Figure

    num_columns = min(len(panels), panels_per_row)
    num_rows = -(-len(panels) // num_columns)
    width, height = panel_inches or (size * (1.5 if len(panels) == 1 else 1.0) for size in _PANEL_INCHES)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * num_columns + 0.4, height * num_rows + 0.4), layout="constrained")
        axes = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
        for axis, (title, draw) in zip(axes, panels, strict=False):
            draw(axis)
            axis.set_title(title)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        _add_legend(figure, axes)
        paths = [stem.with_suffix(suffix) for suffix in (".pdf", ".png")]
        for path in paths:
            # Without dates the same results give the same files.
            figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else {"Software": None})
    return paths


def _add_legend(figure: Any, axes: Sequence[Any]) -> None:
    """Names what is drawn in any of the panels: below them, or beside a single one; the figure grows by as much."""
    legends = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes]
    handles = {label: handle for legend in legends for handle, label in legend}
    if not handles:
        return
    width, height = figure.get_size_inches()
    ncols = _legend_columns(list(handles), width)
    num_lines = -(-len(handles) // ncols)
    if len(axes) == 1 and num_lines * _LINE_INCHES > _LEGEND_SHARE * height:
        ncols, place = 1, "outside right center"
        width += _HANDLE_INCHES + _LETTER_INCHES * max(map(len, handles))
        height = max(height, (len(handles) + 1) * _LINE_INCHES)
    else:
        place = "outside lower center"
        height += num_lines * _LINE_INCHES
    figure.set_size_inches(width, height)
    figure.legend(handles.values(), handles.keys(), loc=place, ncols=ncols)


def _legend_columns(labels: Sequence[str], inches: float) -> int:
    """Returns in how many columns the labels fit side by side, each column as wide as its longest."""
    for ncols in range(len(labels), 1, -1):
        columns = np.array_split([len(label) for label in labels], ncols)
        if sum(_HANDLE_INCHES + _LETTER_INCHES * column.max() for column in columns) <= inches:
            return ncols
    return 1
