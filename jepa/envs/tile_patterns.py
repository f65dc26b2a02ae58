"""Additive pattern databases for sliding tiles: lower bounds on the number of moves, also where no table fits.

A pattern database tells how many moves a few of the tiles need by themselves; the sum over patterns that share no
tile never exceeds the true length.

Source: R. E. Korf and A. Felner, Disjoint pattern database heuristics, 2002; here one rule divides all boards.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8

from jepa.envs.distance_table import cached_distances

MAX_CELLS = 64
"""Largest board: the free cells of a pattern are the bits of one number."""
MAX_ENTRIES = 16**6
"""Largest table of one pattern: six tiles on 4x4, which takes four seconds, once."""


def partition(rows: int, columns: int, blank: int) -> list[tuple[int, ...]]:
    """Divides the cells of a goal without its blank into patterns: compact, of equal size except for the last.

    The cells are cut from a way that winds along the rows, as wide as a pattern that is two columns long. It begins
    at the bottom, where the blank usually is: that the last pattern lies at the top halves the search.
    """
    num_cells = rows * columns
    size = next(size for size in reversed(range(1, num_cells)) if num_cells**size <= MAX_ENTRIES or size == 1)
    height = max(1, size // 2)

    def position(cell: int) -> tuple[int, ...]:
        row, column = divmod(cell, columns)
        band = (rows - 1 - row) // height
        return band, -column if band % 2 else column, row

    cells = sorted(set(range(num_cells)) - {blank}, key=position)
    return [tuple(cells[first : first + size]) for first in range(0, num_cells - 1, size)]


def build_pattern_distances(
    rows: int, columns: int, blank: int, pattern: tuple[int, ...]
) -> Int[np.ndarray, " num_placements"]:
    """Computes the least number of moves of a pattern's tiles that bring them home, other tiles moving for free.

    Args:
      rows: height of the board.
      columns: width of the board.
      blank: the goal's blank.
      pattern: the home cells of the tiles.

    Returns:
      A table by the sum of (cell of tile i) * N^i; -1 where two tiles would share a cell.
    """
    num_cells, num_tiles = rows * columns, len(pattern)
    bits = _bits(num_cells)
    masked_targets = [np.where(legal, bits[cells], 0).astype(bits.dtype) for legal, cells in blank_moves(rows, columns)]
    reached, arriving = np.zeros((2, num_cells**num_tiles), bits.dtype)  # sets of blanks, by placement
    distances = np.full(num_cells**num_tiles, -1, np.int16)
    arriving[sum(cell * num_cells**i for i, cell in enumerate(pattern))] = bits[blank]
    distance = 0
    while (placements := np.flatnonzero(arriving)).size:
        blanks = arriving[placements] & ~reached[placements]
        arriving[placements] = 0
        placements, blanks = placements[blanks > 0], blanks[blanks > 0]
        cells = [placements // num_cells**i % num_cells for i in range(num_tiles)]
        blanks = _flood(rows, columns, blanks, ~functools.reduce(np.bitwise_or, [bits[tile] for tile in cells]))
        reached[placements] |= blanks
        distances[placements[distances[placements] < 0]] = distance
        for i, tile in enumerate(cells):
            for offset, targets in zip(blank_offsets(columns), masked_targets, strict=True):
                moved = np.flatnonzero(blanks & targets[tile])
                # Different placements stay different, so no entry occurs twice.
                arriving[placements[moved] + offset * num_cells**i] |= bits[tile[moved]]
        distance += 1
    return distances


def _flood(
    rows: int, columns: int, blanks: Integer[np.ndarray, " F"], free: Integer[np.ndarray, " F"]
) -> Integer[np.ndarray, " F"]:
    """Lets blanks move to wherever free cells lead them; sets of cells are bits."""
    bits = _bits(rows * columns)
    not_first, not_last = (
        np.bitwise_or.reduce(bits[np.arange(rows * columns) % columns != side]) for side in (0, columns - 1)
    )
    free = free & np.bitwise_or.reduce(bits)
    down, right = bits.dtype.type(columns), bits.dtype.type(1)
    while True:
        spread = blanks | blanks << down | blanks >> down
        spread = (spread | (blanks & not_last) << right | (blanks & not_first) >> right) & free
        if (spread == blanks).all():
            return blanks
        blanks = spread


def _bits(num_cells: int) -> Integer[np.ndarray, " N"]:
    smallest = np.min_scalar_type(2**num_cells - 1)
    return smallest.type(1) << np.arange(num_cells, dtype=smallest)


def blank_offsets(columns: int) -> tuple[int, ...]:
    """Returns by how much a cell's number changes with a move up, down, left, right."""
    return (-columns, columns, -1, 1)


def blank_moves(rows: int, columns: int) -> list[tuple[Bool[np.ndarray, " N"], Int[np.ndarray, " N"]]]:
    """Returns for each way to move from which cells it is possible, and where it leads."""
    cells = np.arange(rows * columns)
    row, column = np.divmod(cells, columns)
    possible = (row > 0, row < rows - 1, column > 0, column < columns - 1)
    return [(legal, (cells + way) % len(cells)) for legal, way in zip(possible, blank_offsets(columns), strict=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatternHeuristic:
    """A lower bound on the number of moves: the sum of one entry per pattern. Tiles are called by their homes.

    A tile's home is its cell in the goal; the boards below hold the homes of what lies on their cells.
    """

    entries: UInt8[np.ndarray, " num_entries"]
    """The tables of all patterns, one behind the other."""
    origins: Int[np.ndarray, " patterns"]
    """Where the table of each pattern begins."""
    patterns: Int[np.ndarray, " N"]
    """The pattern of each tile."""
    weights: Int[np.ndarray, " N"]
    """By how much a tile's place among the entries grows with its cell; 0 for the blank."""
    cells: Int[np.ndarray, " N"]
    """The numbers of the cells, as the tables have them: the board may lie on its side."""
    shifts: Int[np.ndarray, "N 4"]
    """By how much a tile's place among the entries changes when the blank moves onto it, by the blank's action."""

    def places(self, board: Int[np.ndarray, " N"]) -> Int[np.ndarray, " patterns"]:
        """Returns where the entry of each pattern is found."""
        places = self.origins.copy()
        np.add.at(places, self.patterns[board], self.weights[board] * self.cells)
        return places


@functools.cache
def _upright(rows: int, columns: int, blank: int) -> PatternHeuristic:
    """Returns the sum over the partition along the rows."""
    num_cells, divided = rows * columns, partition(rows, columns, blank)
    tables, patterns, weights = [], np.zeros(num_cells, int), np.zeros(num_cells, int)
    for number, pattern in enumerate(divided):
        table = cached_distances(
            name=f"sliding_tiles_{rows}x{columns}_blank{blank}_pattern{'_'.join(map(str, pattern))}",
            num_states=num_cells ** len(pattern),
            build=functools.partial(build_pattern_distances, rows, columns, blank, pattern),
        )
        tables.append(table.astype(np.uint8))
        patterns[list(pattern)] = number
        weights[list(pattern)] = num_cells ** np.arange(len(pattern))
    return PatternHeuristic(
        entries=np.concatenate(tables),
        origins=np.cumsum([0] + [len(table) for table in tables[:-1]]),
        patterns=patterns,
        weights=weights,
        cells=np.arange(num_cells),
        shifts=-weights[:, None] * np.array(blank_offsets(columns)),
    )


@functools.cache
def pattern_heuristics(rows: int, columns: int, blank: int) -> tuple[PatternHeuristic, PatternHeuristic]:
    """Returns the sums over two partitions: that of the board, and that of the board laid on its side."""
    transposed = np.arange(rows * columns).reshape(columns, rows).T.ravel()
    # On a square board with the blank on the diagonal these are the same tables.
    lying = _upright(columns, rows, int(transposed[blank]))
    sideways = dataclasses.replace(
        lying,
        patterns=lying.patterns[transposed],
        weights=lying.weights[transposed],
        cells=transposed,
        shifts=lying.shifts[transposed][:, [2, 3, 0, 1]],  # what was up is left
    )
    return _upright(rows, columns, blank), sideways
