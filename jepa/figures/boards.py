"""Drawings of states as pixels: the same shapes and colours as on the page, in rows of pictures."""

import functools
import io
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from jepa.drawing import Drawing

_INCHES = 1.1
_TITLE_INCHES = 0.3
_DOTS_PER_INCH = 110
_PER_ROW = 5
_MOVE = re.compile(r"([MLHVQaZ])([^MLHVQaZ]*)")
_CIRCLE_KNOT = 0.5522847498  # Of the cubic curve that is nearest to a quarter of a circle.


@functools.cache
def palette() -> dict[str, str]:
    """Returns the colours of fills by name: those that the page has by day."""
    css = (resources.files("jepa.page") / "assets" / "page.css").read_text("utf-8")
    day = css[: css.index("@media")]
    return dict(re.findall(r"--c-(\w+): (#[0-9a-f]{6})", day)) | {"none": "none", "paper": "#ffffff"}


def board_png(drawings: Sequence[Drawing], titles: Sequence[str]) -> tuple[bytes, int, int]:
    """Returns drawings in rows as the content of a PNG file, with its width and height in pixels.

    Args:
      drawings: at least one.
      titles: a word above each.
    """
    from matplotlib.figure import Figure

    share = max(drawing.height / drawing.width for drawing in drawings)
    columns = min(len(drawings), _PER_ROW)
    rows = -(-len(drawings) // columns)
    width, height = _INCHES, _INCHES * min(share, 2.0) + _TITLE_INCHES
    figure = Figure(figsize=(width * columns, height * rows), dpi=_DOTS_PER_INCH)
    for place, (drawing, title) in enumerate(zip(drawings, titles, strict=True)):
        row, column = divmod(place, columns)
        low, high = 1 - (row + 0.98) / rows, (1 - _TITLE_INCHES / height) / rows
        axis = figure.add_axes(((column + 0.04) / columns, low, 0.92 / columns, high))
        axis.set_title(title, fontsize=7, pad=3)
        draw(axis, drawing)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    width, height = figure.get_size_inches() * figure.dpi
    return content.getvalue(), int(width), int(height)


def draw(axis: Any, drawing: Drawing) -> None:
    """Draws into matplotlib's axes."""
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import Affine2D

    axis.set(xlim=(-0.1, drawing.width + 0.1), ylim=(drawing.height + 0.1, -0.1), aspect="equal")
    axis.set_axis_off()
    points = 72 * axis.get_window_extent().width / axis.figure.dpi / (drawing.width + 0.2)
    for shape in drawing.shapes:
        if shape.outline:
            moved = Affine2D().translate(shape.x, shape.y).transform_path(_path(shape.outline))
            axis.add_patch(PathPatch(moved, facecolor=palette()[shape.fill], edgecolor="#00000038", linewidth=0.3))
        if shape.label:
            look = dict(ha="center", va="center_baseline", fontsize=0.8 * points * shape.label_size, color="#1d2330")
            axis.text(shape.x, shape.y, shape.label, parse_math=False, **look)


def _path(outline: str) -> Any:
    """Returns SVG path data, of the few commands that `jepa.drawing` uses, as matplotlib's path.

    Raises:
      ValueError: there is another command in it.
    """
    from matplotlib.path import Path

    points, codes, here = [], [], np.zeros(2)

    def add(code: np.uint8, *new: np.ndarray) -> None:
        points.extend(new)
        codes.extend([code] * len(new))

    if not _MOVE.match(outline) or set(re.findall(r"[A-Za-z]", outline)) - set("MLHVQaZe"):
        raise ValueError(f"an outline has the commands M, L, H, V, Q, a and Z, came {outline!r}")
    for command, text in _MOVE.findall(outline):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]
        if command == "Z":
            add(Path.CLOSEPOLY, here)
        elif command == "a":
            radius, *_, right, down = numbers
            here = _add_half_circle(add, here, radius, np.array([right, down]))
        elif command in "HV":
            here = np.array([numbers[0], here[1]] if command == "H" else [here[0], numbers[0]])
            add(Path.LINETO, here)
        else:
            pairs = np.reshape(numbers, (-1, 2))
            add({"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3}[command], *pairs)
            here = pairs[-1]
    return Path(points, codes)


def _add_half_circle(add: Any, start: np.ndarray, radius: float | int, chord: np.ndarray) -> np.ndarray:
    """Adds half a circle above a chord as two cubic curves; returns its end."""
    from matplotlib.path import Path

    centre = start + chord / 2
    out = (start - centre) * radius / max(np.linalg.norm(start - centre), 1e-12)
    side = np.array([-out[1], out[0]])
    for _ in range(2):
        ahead, corner = out, side
        add(
            Path.CURVE4, centre + ahead + _CIRCLE_KNOT * corner, centre + corner + _CIRCLE_KNOT * ahead, centre + corner
        )
        out, side = corner, -ahead
    return centre + out
