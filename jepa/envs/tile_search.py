"""Optimal lengths of sliding-tile problems on boards too large for a table: IDA* in NumPy with pattern databases.

The search does not go node by node but by blocks of some thousand nodes of equal depth, so that a node costs about
100 ns. It is cut off where the larger of two lower bounds exceeds the length that is tried.

Source: R. E. Korf, Depth-first iterative-deepening: an optimal admissible tree search, 1985.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8

from jepa.envs.tile_patterns import MAX_CELLS, PatternHeuristic, blank_moves, blank_offsets, pattern_heuristics

NODE_BUDGET = 50_000_000
"""Successors generated after which a problem on up to 16 cells is given up: a hundred times a 15-puzzle's mean."""
LARGE_BOARD_NODE_BUDGET = 2_000_000
"""The same on larger boards, where random problems are out of reach and ten times the nodes buy a few moves more."""
_BLOCK_SIZE = 16_384
"""Nodes expanded together: enough to hide the cost of a call, few enough to stay in the processor's cache."""


def search_lengths(
    rows: int,
    columns: int,
    starts: Integer[np.ndarray, "B N"],
    goals: Integer[np.ndarray, "B N"],
    *,
    node_budget: int | None = None,
) -> Int[np.ndarray, " B"]:
    """Returns the least number of moves from each start to its goal; -1 where the budget ends before it is known.

    A random 15-puzzle takes 0.5 million successors on average, less than a tenth of a second; nearly all are
    answered. Random 24-puzzles are given up after a fifth of a second; those within some sixty moves of the goal are
    answered. The first call for a board and a place of the goal's blank makes the tables and stores them (4x4:
    eight seconds, two files of 34 MB).

    Args:
      rows: height of the board, at least 2.
      columns: width of the board, at least 2.
      starts: boards with every number once, 0 is the blank.
      goals: boards which moves can reach; towards one that they cannot, the whole budget is spent.
      node_budget: successors generated for one problem, over all its iterations, after which it is given up; by
        default `NODE_BUDGET` or `LARGE_BOARD_NODE_BUDGET`.
    """
    lengths = np.where((starts == goals).all(axis=1), 0, -1)
    if rows * columns > MAX_CELLS:
        return lengths
    if node_budget is None:
        node_budget = NODE_BUDGET if rows * columns <= 16 else LARGE_BOARD_NODE_BUDGET
    # From here on a tile is called by its cell in the goal: a solved board is 0, 1, 2, ...
    boards = np.take_along_axis(np.argsort(goals, axis=1), starts, axis=1)
    blank_homes = np.argmin(goals, axis=1)
    for home in np.unique(blank_homes[lengths < 0]).tolist():
        # Mirrored so that the goal's blank lies at the lower right, four places share one set of tables.
        cells = np.arange(rows * columns).reshape(rows, columns)
        cells = cells[:: -1 if 2 * (home // columns) < rows - 1 else 1]
        cells = cells[:, :: -1 if 2 * (home % columns) < columns - 1 else 1].ravel()
        heuristics = pattern_heuristics(rows, columns, int(cells[home]))
        for index in np.flatnonzero((lengths < 0) & (blank_homes == home)).tolist():
            board = cells[boards[index][cells]]
            lengths[index] = _search(rows, columns, board, int(cells[home]), heuristics, node_budget)
    return lengths


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Block:
    """F nodes at the same depth."""

    num_moves: int
    """Moves from the start."""
    boards: UInt8[np.ndarray, "F N"]
    """The home of what lies on each cell."""
    blanks: Int[np.ndarray, " F"]
    """The cell of the blank."""
    actions: Int[np.ndarray, " F"]
    """The last action; 4 at the start."""
    places: tuple[Int[np.ndarray, "F _"], ...]
    """For each heuristic, where the entry of each pattern is found."""
    bounds: tuple[Int[np.ndarray, " F"], ...]
    """For each heuristic, the least number of moves that are left."""


def _part(block: _Block, nodes: slice) -> _Block:
    return _Block(
        num_moves=block.num_moves,
        boards=block.boards[nodes],
        blanks=block.blanks[nodes],
        actions=block.actions[nodes],
        places=tuple(places[nodes] for places in block.places),
        bounds=tuple(bounds[nodes] for bounds in block.bounds),
    )


def _search(
    rows: int,
    columns: int,
    board: Int[np.ndarray, " N"],
    home: int,
    heuristics: tuple[PatternHeuristic, ...],
    budget: int,
) -> int:
    """Searches depth-first for ever longer solutions; the first one found is a shortest. `home` is the blank's."""
    places = tuple(heuristic.places(board)[None] for heuristic in heuristics)
    root = _Block(
        num_moves=0,
        boards=board[None].astype(np.uint8),
        blanks=np.flatnonzero(board == home),
        actions=np.array([4]),
        places=places,
        bounds=tuple(h.entries[place].sum(axis=1, dtype=int) for h, place in zip(heuristics, places, strict=True)),
    )
    length = max(int(bounds[0]) for bounds in root.bounds)
    while True:
        waiting = [root]
        while waiting:
            block = waiting.pop()
            if len(block.blanks) > _BLOCK_SIZE:
                waiting.append(_part(block, slice(_BLOCK_SIZE, None)))
                block = _part(block, slice(_BLOCK_SIZE))
            children, num_generated = _expand(rows, columns, home, heuristics, block, length)
            if (children.bounds[0] == 0).any():  # every tile is at home
                return children.num_moves
            budget -= num_generated
            if budget <= 0:
                return -1
            if len(children.blanks):
                waiting.append(children)
        length += 2  # A move changes every bound by one, up or down, so all solutions have the same parity.


def _expand(
    rows: int, columns: int, home: int, heuristics: tuple[PatternHeuristic, ...], block: _Block, length: int
) -> tuple[_Block, int]:
    """Returns the successors that may lie on a solution of the given length, and how many were looked at."""
    num_cells = rows * columns
    choices = np.flatnonzero(_choices(rows, columns)[block.blanks, block.actions])
    parents, actions = choices >> 2, choices & 3
    targets = block.blanks[parents] + np.array(blank_offsets(columns))[actions]
    tiles = block.boards.ravel()[parents * num_cells + targets]
    # Columns of one table, from which rows are dropped as soon as a heuristic rules them out.
    table = [parents, actions, targets, tiles]
    for heuristic, places, bounds in zip(heuristics, block.places, block.bounds, strict=True):
        parents, actions, _, tiles = table[:4]
        before = places.ravel()[parents * places.shape[1] + heuristic.patterns[tiles]]
        after = before + heuristic.shifts.ravel()[tiles * np.intp(4) + actions]
        moved = bounds[parents] - heuristic.entries[before] + heuristic.entries[after]
        kept = np.flatnonzero(moved < length - block.num_moves)
        table = [column[kept] for column in (*table, after, moved)]
    parents, actions, targets, tiles = table[:4]
    boards, nodes = block.boards[parents], np.arange(len(parents))
    boards.ravel()[nodes * num_cells + block.blanks[parents]] = tiles
    boards.ravel()[nodes * num_cells + targets] = home
    all_places = []
    for heuristic, places, after in zip(heuristics, block.places, table[4::2], strict=True):
        places = places[parents]
        places.ravel()[nodes * places.shape[1] + heuristic.patterns[tiles]] = after
        all_places.append(places)
    children = _Block(
        num_moves=block.num_moves + 1,
        boards=boards,
        blanks=targets,
        actions=actions,
        places=tuple(all_places),
        bounds=tuple(table[5::2]),
    )
    return children, len(choices)


@functools.cache
def _choices(rows: int, columns: int) -> Bool[np.ndarray, "N 5 4"]:
    """Returns by the blank's cell and the last action which actions are possible and do not take it back."""
    possible = np.stack([legal for legal, _ in blank_moves(rows, columns)], axis=1)
    back = np.eye(5, 4, dtype=bool)[:, [1, 0, 3, 2]]
    return possible[:, None] & ~back
