"""A cube in space, seen from two opposite corners, so that every sticker shows."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from jepa.drawing import Drawing, Shape, polygon

COLOURS = {"U": "white", "R": "red", "F": "green", "D": "yellow", "L": "orange", "B": "blue"}
"""Colour of each face of a solved cube, as on most cubes that are sold."""
_ACROSS = math.sqrt(3) / 2
_GAP = 0.06


def draw_cube(faces: Mapping[str, Int[np.ndarray, "n n"]], names: str) -> Drawing:
    """Draws a cube from above its front right edge and, beside it, from below its back left edge.

    Args:
      faces: for each of U R F D L B the stickers, row by row as in the unfolded net, as indices of `names`.
      names: the face whose colour each index means.
    """
    size = len(faces["U"])
    down, up, fall = (_ACROSS, -0.5), (_ACROSS, 0.5), (0.0, 1.0)
    back = (-_ACROSS, 0.5)
    from_above = {
        "F": ((0.0, size / 2), up, fall),
        "R": ((size * _ACROSS, float(size)), down, fall),
        "U": ((size * _ACROSS, 0.0), up, back),
    }
    left = 2 * size * _ACROSS + 0.6
    bottom = (left + size * _ACROSS, float(size))
    from_below = {
        "B": ((left, size / 2), down, fall),
        "L": ((left + size * _ACROSS, 0.0), up, fall),
        # The corner of D that is nearest lies below the bottom of its first column and last row.
        "D": ((bottom[0] + size * _ACROSS, bottom[1] + size / 2), back, (-_ACROSS, -0.5)),
    }
    shapes = [Shape(outline=_silhouette(size), x=x, y=0.0, fill="ink") for x in (0.0, round(left, 3))]
    for face, (corner, right, along) in (from_above | from_below).items():
        outline = _cell(right, along)
        for row, column in np.ndindex(size, size):
            x, y = (corner[axis] + column * right[axis] + row * along[axis] for axis in range(2))
            fill = COLOURS[names[int(faces[face][row, column])]]
            shapes.append(Shape(outline=outline, x=round(x, 3), y=round(y, 3), fill=fill))
    words = dict(outline="", y=2.16 * size, fill="none", label_size=0.14 * size)
    shapes += [
        Shape(x=round(x + size * _ACROSS, 3), label=side, **words) for x, side in ((0.0, "above"), (left, "below"))
    ]
    return Drawing(width=left + 2 * size * _ACROSS, height=2.24 * size, shapes=tuple(shapes))


def _silhouette(size: int) -> str:
    """Returns the hexagon of a whole cube."""
    half, whole = size * _ACROSS, 2 * size * _ACROSS
    upper, lower = size / 2, 1.5 * size
    return polygon([(0, upper), (half, 0), (whole, upper), (whole, lower), (half, 2 * size), (0, lower)])


def _cell(right: tuple[float, float], along: tuple[float, float]) -> str:
    """Returns a sticker, a little smaller than its cell, from the cell's first corner."""
    corners = [(_GAP, _GAP), (1 - _GAP, _GAP), (1 - _GAP, 1 - _GAP), (_GAP, 1 - _GAP)]
    return polygon([(a * right[0] + b * along[0], a * right[1] + b * along[1]) for a, b in corners])
