"""Exact shortest solutions of Sokoban levels, counted in moves of the player."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from jepa.envs.sokoban_levels import BOX, PLAYER, WALL

MAX_NODES = 500_000
"""About how many states one search may find; a level of the default size has at most 5,313."""


def shortest_solution_length(
    state: Int[np.ndarray, " N"], targets: Bool[np.ndarray, " N"], *, size: int, max_nodes: int = MAX_NODES
) -> int:
    """Returns the least number of moves after which there is a box on every target.

    Breadth-first over (player, boxes), the boxes as a bit mask. States with a box where it can never get to a target
    are left out if every box is needed.

    Args:
      state: a valid state: a border of walls, and one player.
      targets: cells that need a box.
      size: width and height of the board.
      max_nodes: the search gives up once it has found more states.

    Returns:
      The length; -1 where there is no solution and where the search gave up.
    """
    walls, boxes, goal = _bit_mask(state == WALL), _bit_mask(state == BOX), _bit_mask(targets)
    if walls & goal:
        return -1
    needs_every_box = goal.bit_count() == boxes.bit_count()
    closed = ~_alive_cells(walls, goal, size) if needs_every_box else walls
    if boxes & closed:
        return -1
    layer = [(int(np.argmax(state == PLAYER)), boxes)]
    found, length = set(layer), 0
    while layer and len(found) <= max_nodes:
        if any(boxes & goal == goal for _, boxes in layer):
            return length
        following = []
        for player, boxes in layer:
            for successor in _successors(player, boxes, walls, closed, size):
                if successor not in found:
                    found.add(successor)
                    following.append(successor)
        layer, length = following, length + 1
    return -1


def _successors(player: int, boxes: int, walls: int, closed: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields the player and the boxes after each legal move that pushes no box onto a closed cell."""
    for offset in (-size, size, -1, 1):
        ahead = player + offset
        if boxes >> ahead & 1:
            beyond = ahead + offset
            if not (boxes | closed) >> beyond & 1:
                yield ahead, boxes ^ (1 << ahead | 1 << beyond)
        elif not walls >> ahead & 1:
            yield ahead, boxes


def _alive_cells(walls: int, goal: int, size: int) -> int:
    """Returns from which cells a box that is alone can be pushed to a target, as a bit mask.

    Found by pulling it from the targets: it and the player in front of it need a free cell each.
    """
    alive, stack = goal, [cell for cell in range(size * size) if goal >> cell & 1]
    while stack:
        cell = stack.pop()
        for offset in (-size, size, -1, 1):
            pulled = cell + offset
            if not ((alive | walls) >> pulled & 1 or walls >> (pulled + offset) & 1):
                alive |= 1 << pulled
                stack.append(pulled)
    return alive


def _bit_mask(cells: Bool[np.ndarray, " N"]) -> int:
    return sum(1 << cell for cell in np.flatnonzero(cells).tolist())
