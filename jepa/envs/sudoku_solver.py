"""What the rules of Sudoku say: which cells must differ, what they force, and whether a board can be completed."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int


@functools.cache
def unit_cells(box_rows: int, box_columns: int) -> Int[np.ndarray, "units size"]:
    """Returns the cells of every row, then of every column, then of every box; none holds a digit twice."""
    size = box_rows * box_columns
    rows = np.arange(size * size).reshape(size, size)
    bands = rows.reshape(box_columns, box_rows, box_rows, box_columns)  # band, row in it, stack, column in it
    return np.concatenate([rows, rows.T, bands.swapaxes(1, 2).reshape(size, size)])


@functools.cache
def units_of_cells(box_rows: int, box_columns: int) -> Int[np.ndarray, "cells 3"]:
    """Returns the row, the column and the box of every cell, as numbers of units."""
    units = unit_cells(box_rows, box_columns)
    return np.argsort(units.ravel(), kind="stable").reshape(-1, 3) // units.shape[1]


@functools.cache
def solutions(box_rows: int, box_columns: int) -> Int[np.ndarray, "solutions cells"]:
    """Returns every full board with the first row 1, 2, ...; all others are renamings of one of these.

    12 on 4x4, times 4! renamings 288; 39,168 on 6x6, times 6! renamings 28,200,960.
    """
    size, units_of = box_rows * box_columns, units_of_cells(box_rows, box_columns)
    digits = np.arange(1, size + 1, dtype=np.int8)
    boards = digits[None]
    for cell in range(size, size * size):  # all boards that are filled up to a cell, then up to the next
        peers = np.flatnonzero((units_of[:cell] == units_of[cell]).any(axis=1))
        parents, chosen = np.nonzero((boards[:, peers, None] != digits).all(axis=1))
        boards = np.column_stack([boards[parents], digits[chosen]])
    return boards


def legal_digits(cells: Int[Array, " cells"], box_rows: int, box_columns: int) -> Bool[Array, "cells size"]:
    """Returns which digits 1, 2, ... may be written into each cell: none where one stands already."""
    is_digit = cells[:, None] == jnp.arange(1, box_rows * box_columns + 1)
    is_seen = [counts > 0 for counts in _counts_around(is_digit, box_rows, box_columns)]
    return (cells == 0)[:, None] & ~functools.reduce(jnp.logical_or, is_seen)


def fill_singles(cells: Int[Array, " cells"], box_rows: int, box_columns: int) -> Int[Array, " cells"]:
    """Writes what is forced, until nothing is: a cell's only digit, or a digit's only cell in a unit.

    A board that this completes has one solution, as every digit was forced. On 4x4 the reverse holds too; on 6x6 some
    boards with one solution take more thought. The board must have a solution: else what is forced may clash.
    """

    def forced(cells):
        candidates = legal_digits(cells, box_rows, box_columns)
        is_only_digit = candidates.sum(axis=1, keepdims=True) == 1
        is_only_cell = [counts == 1 for counts in _counts_around(candidates, box_rows, box_columns)]
        return candidates & functools.reduce(jnp.logical_or, is_only_cell, is_only_digit)

    def write(carry):
        cells, singles = carry
        cells = jnp.where(singles.any(axis=1), 1 + jnp.argmax(singles, axis=1).astype(cells.dtype), cells)
        return cells, forced(cells)

    return jax.lax.while_loop(lambda carry: carry[1].any(), write, (cells, forced(cells)))[0]


def _counts_around(marks: Bool[Array, "cells size"], box_rows: int, box_columns: int) -> list[Int[Array, "cells size"]]:
    """Returns for each cell and digit how many cells of its row, of its column and of its box are marked."""
    size = box_rows * box_columns
    # Sums over axes, as indexing with `unit_cells` is several times slower when batched.
    board = marks.reshape(box_columns, box_rows, box_rows, box_columns, size)  # band, row, stack, column, digit
    counts = [board.sum(axis=axes, keepdims=True) for axes in ((2, 3), (0, 1), (1, 3))]
    return [jnp.broadcast_to(count, board.shape).reshape(marks.shape) for count in counts]


def can_be_completed(boards: Int[np.ndarray, "B cells"], *, box_rows: int, box_columns: int) -> Bool[np.ndarray, " B"]:
    """Returns which boards have a solution, by exact backtracking; none that breaks a rule already has one.

    Args:
      boards: digits up to box_rows * box_columns; 0 is an empty cell.
      box_rows: height of a box.
      box_columns: width of a box.
    """
    units_of = units_of_cells(box_rows, box_columns).tolist()
    distinct, indices = np.unique(boards, axis=0, return_inverse=True)
    known = [_has_solution(board, units_of) for board in distinct.tolist()]
    return np.array(known, bool)[indices.reshape(-1)]


def _has_solution(board: list[int], units_of: list[list[int]]) -> bool:
    size = math.isqrt(len(board))
    taken = [0] * (3 * size)  # bit d of a unit: digit d stands in it
    for digit, units in zip(board, units_of, strict=True):
        if digit and any(taken[unit] >> digit & 1 for unit in units):
            return False
        for unit in units if digit else ():
            taken[unit] |= 1 << digit
    return _complete([units for digit, units in zip(board, units_of, strict=True) if not digit], taken, size)


def _complete(empty: list[list[int]], taken: list[int], size: int) -> bool:
    """Tries all digits of the cell with the fewest, and so on; `taken` is changed and restored."""
    if not empty:
        return True
    all_digits = (1 << size + 1) - 2
    free = [all_digits & ~(taken[row] | taken[column] | taken[box]) for row, column, box in empty]
    tightest = min(range(len(empty)), key=lambda index: free[index].bit_count())
    rest = empty[:tightest] + empty[tightest + 1 :]
    for digit in range(1, size + 1):
        if free[tightest] >> digit & 1:
            for unit in empty[tightest]:
                taken[unit] |= 1 << digit
            found = _complete(rest, taken, size)
            for unit in empty[tightest]:
                taken[unit] &= ~(1 << digit)
            if found:
                return True
    return False
