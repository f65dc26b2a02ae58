"""Pictures of states as a few filled shapes, which a page can draw, colour for day and night, and move."""

import dataclasses
from collections.abc import Sequence

COLOURS = frozenset(
    "none paper ink muted line tile light dark wall floor target box player accent "
    "white red green yellow orange blue".split()
)
"""Names of fills; what they look like is the matter of whoever draws."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """One outline in one colour, perhaps with a label in its middle."""

    outline: str
    """SVG path data about the origin (0, 0)."""
    x: float | int
    """Where the origin of the outline lies, in the units of the drawing, to the right."""
    y: float | int
    """The same, downwards."""
    fill: str
    """One of `COLOURS`."""
    label: str = ""
    """Text centred on the origin."""
    label_size: float = 0.5
    """Height of the text in the units of the drawing."""
    key: str = ""
    """What is one thing in two drawings has one key, and moves from place to place; empty for what never moves."""

    def __post_init__(self):
        """Refuses a colour that nobody could draw."""
        if self.fill not in COLOURS:
            raise ValueError(f"a fill must be one of {', '.join(sorted(COLOURS))}; got {self.fill!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """Shapes on a canvas, later ones on top of earlier ones."""

    width: float | int
    """Extent of the canvas from x = 0."""
    height: float | int
    """Extent of the canvas from y = 0."""
    shapes: tuple[Shape, ...]
    """What is on it."""


def rectangle(width: float, height: float, radius: float = 0.0) -> str:
    """Returns the outline of a rectangle with rounded corners, centred on the origin."""
    x, y, r = width / 2, height / 2, radius
    if not r:
        return f"M{-x:g} {-y:g}H{x:g}V{y:g}H{-x:g}Z"
    return (
        f"M{r - x:g} {-y:g}H{x - r:g}Q{x:g} {-y:g} {x:g} {r - y:g}V{y - r:g}Q{x:g} {y:g} {x - r:g} {y:g}"
        f"H{r - x:g}Q{-x:g} {y:g} {-x:g} {y - r:g}V{r - y:g}Q{-x:g} {-y:g} {r - x:g} {-y:g}Z"
    )


def circle(radius: float) -> str:
    """Returns the outline of a circle about the origin."""
    return f"M{-radius:g} 0a{radius:g} {radius:g} 0 1 0 {2 * radius:g} 0a{radius:g} {radius:g} 0 1 0 {-2 * radius:g} 0Z"


def polygon(points: Sequence[tuple[float | int, float | int]]) -> str:
    """Returns the outline of a polygon."""
    return "M" + "L".join(f"{x:.3g} {y:.3g}" for x, y in points) + "Z"


def text_drawing(text: str) -> Drawing:
    """Returns lines of text as a drawing, one shape per line: what a domain without pictures of its own shows."""
    lines = text.split("\n")
    width = 0.62 * max(len(line) for line in lines) + 1
    longest = max(len(line) for line in lines)
    shapes = [
        Shape(outline="", x=width / 2, y=index + 0.8, fill="none", label=line.ljust(longest), label_size=1.0)
        for index, line in enumerate(lines)
    ]
    return Drawing(width=width, height=len(lines) + 0.6, shapes=tuple(shapes))
