"""Terms as trees, from the tokens of their heap order."""

import numpy as np
from jaxtyping import Int

from jepa.drawing import Drawing, Shape, circle, polygon
from jepa.envs.theories import Theory

_EDGE = 0.05


def draw_term(theory: Theory, tokens: Int[np.ndarray, " N"], written: str) -> Drawing:
    """Draws the tree of a term, of which every slot has a place of its own; also tokens that are no term.

    Args:
      theory: whose symbols they are.
      tokens: the term in heap order.
      written: what stands beneath the tree.
    """
    num_levels = len(tokens).bit_length()
    present = [slot for slot, token in enumerate(tokens.tolist(), start=1) if token]
    columns = {slot: column for column, slot in enumerate(sorted(present, key=lambda slot: _across(slot)))}
    places = {slot: (columns[slot] + 0.5, slot.bit_length() - 0.5) for slot in present}
    edges = [
        Shape(outline=_line(places[slot // 2], places[slot]), x=0.0, y=0.0, fill="line")
        for slot in present
        if slot // 2 in places
    ]
    nodes = []
    for slot in present:
        symbol, (x, y) = theory.symbols[tokens[slot - 1] - 1], places[slot]
        fill = "tile" if symbol.arity else "accent"
        nodes.append(Shape(outline=circle(0.36), x=x, y=y, fill=fill, label=symbol.name, key=f"slot{slot}"))
    width = max(len(present), 1)
    size = min(0.5, round(width / (0.62 * max(len(written), 1)), 3))
    text = Shape(outline="", x=width / 2, y=num_levels + 0.3, fill="none", label=written, label_size=size)
    return Drawing(width=width, height=num_levels + 0.6, shapes=(*edges, *nodes, text))


def _across(slot: int) -> float:
    """Returns how far to the right a slot of a complete tree lies, between 0 and 1."""
    row = 1 << (slot.bit_length() - 1)
    return (slot - row + 0.5) / row


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Returns a thin outline from one point to another."""
    (a, b), (c, d) = start, end
    length = max(float(np.hypot(c - a, d - b)), 1e-6)
    x, y = _EDGE / 2 * (d - b) / length, _EDGE / 2 * (a - c) / length
    return polygon([(a + x, b + y), (c + x, d + y), (c - x, d - y), (a - x, b - y)])
