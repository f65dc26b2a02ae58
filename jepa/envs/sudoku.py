"""Sudoku of 4x4 and 6x6 cells: every digit once in each row, column and box.

Puzzles differ by their solution. Solutions are split into two halves by a hash, the same for all renamings of the
digits, and every puzzle, of training and of tests, has one solution only. So a board that a training walk meets is
completed to a solution of training or not at all, and no board that leads to the solution of a test is ever seen.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing, Shape, rectangle
from jepa.envs.base import Env, GoalKind
from jepa.envs.problem_arrays import states_from_arrays
from jepa.envs.sudoku_solver import can_be_completed, fill_singles, legal_digits, solutions, unit_cells, units_of_cells
from jepa.types import Goal, Problem

BOX_SHAPES = ((2, 2), (2, 3), (3, 2))
"""Boxes for which every solution has puzzles with three eighths given, so that drawing ends: of the 39,168 solutions
of 6x6, which are 49 up to symmetry, the most reluctant one yields a puzzle in 0.75 % of the draws."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sudoku(Env):
    """Write digits into empty cells, n = box_rows * box_columns of them, until no cell is empty.

    A state is the n * n cells row by row, 0 for an empty one, and the number of empty cells as the token
    n + 1 + number. Action n * cell + digit - 1 writes a digit into an empty cell; it is illegal where the digit
    stands in the same row, column or box. So a full board is a correct one, and the goal, a predicate for which no
    state is known, is the partial state "no cell is empty".

    Nothing is ever erased: a digit that is legal but not the solution's makes a dead end, which may show only several
    moves later. Random legal actions complete 19, 29 and 44 % of the 4x4 test puzzles with 6, 7 and 8 givens, and
    1.4 % of those of 6x6, where 5 cells stay empty on average.

    In test puzzles between three eighths and a half of the cells are given: 6 to 8 of 16, 13 to 18 of 36. In training
    it is between three eighths and all but one, as full boards must be met often enough to be learned from: in 70 % of
    the walks on 4x4, 48 % on 6x6. Record walks of length 10 and 23; behind the end of a walk nothing happens.
    """

    box_rows: int = 2
    """Height of a box, in cells."""
    box_columns: int = 2
    """Width of a box, in cells."""

    def __post_init__(self) -> None:
        """Refuses sizes for which puzzles cannot be drawn."""
        if (self.box_rows, self.box_columns) not in BOX_SHAPES:
            shapes = ", ".join(f"{rows}x{columns}" for rows, columns in BOX_SHAPES)
            raise ValueError(f"Sudoku has boxes of one of {shapes} cells, came {self.box_rows}x{self.box_columns}")

    @property
    def name(self) -> str:
        """Such as `sudoku_4x4`, by the size of the board; boxes higher than wide are named as well."""
        size = f"sudoku_{self.size}x{self.size}"
        is_usual = self.box_rows <= self.box_columns
        return size if is_usual else f"{size}_boxes_{self.box_rows}x{self.box_columns}"

    @property
    def size(self) -> int:
        """The number of rows, of columns, of boxes and of digits."""
        return self.box_rows * self.box_columns

    @property
    def num_cells(self) -> int:
        """The number of cells of the board."""
        return self.size**2

    @property
    def num_tokens(self) -> int:
        """One token per cell, and the number of empty cells."""
        return self.num_cells + 1

    @property
    def vocab_size(self) -> int:
        """0 for an empty cell, the digits, and the numbers 0, 1, ... of empty cells."""
        return self.size + 1 + self.num_cells + 1

    @property
    def action_names(self) -> tuple[str, ...]:
        """Such as `r1c2=3`: a 3 into row 1, column 2."""
        numbers = range(1, self.size + 1)
        return tuple(f"r{row}c{column}={digit}" for row in numbers for column in numbers for digit in numbers)

    @property
    def goal_kind(self) -> GoalKind:
        """A predicate: the board is full."""
        return GoalKind.PREDICATE

    @property
    def is_reversible(self) -> bool:
        """No: what is written stays."""
        return False

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Writes a digit and counts one empty cell less."""
        cell, digit = action // self.size, action % self.size + 1
        units, units_of = (table(self.box_rows, self.box_columns) for table in (unit_cells, units_of_cells))
        seen = state[jnp.asarray(units)[jnp.asarray(units_of)[cell]]]
        is_legal = (state[cell] == 0) & (seen != digit).all()
        return jnp.where(is_legal, state.at[cell].set(digit).at[-1].add(-1), state)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Digits that do not yet stand in the row, column or box of an empty cell."""
        return legal_digits(state[:-1], self.box_rows, self.box_columns).reshape(-1)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a puzzle of training, from three eighths of its cells given to all but one."""
        return self._draw_puzzle(key, is_test=False, most_givens=self.num_cells - 1)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a puzzle whose only solution is none of training's: first the solution, uniformly, then what is given.

        Puzzles are those that a cell's only digit and a digit's only cell solve: all with one solution on 4x4, more
        than 99 % of them on 6x6.
        """
        start = self._draw_puzzle(key, is_test=True, most_givens=self.num_cells // 2)
        return Problem(start=start, goal=self._full_board_goal())

    def _draw_puzzle(self, key: Key[Array, ""], *, is_test: bool, most_givens: int) -> Int[Array, " N"]:
        """Draws a solution, how many cells are given, and then which, until these force the rest."""
        solution_key, names_key, number_key, cells_key = jax.random.split(key, 4)
        candidates = jnp.asarray(_solutions_of_half(self.box_rows, self.box_columns, is_test))
        names = jax.random.permutation(names_key, jnp.arange(1, self.size + 1))
        solution = names[candidates[jax.random.randint(solution_key, (), 0, len(candidates))] - 1]
        num_givens = jax.random.randint(number_key, (), 3 * self.num_cells // 8, most_givens + 1)

        def draw_again(carry):
            key, draw_key = jax.random.split(carry[0])
            is_given = jax.random.permutation(draw_key, self.num_cells) < num_givens
            return key, jnp.where(is_given, solution, 0)

        def is_unfinished(carry):
            return (fill_singles(carry[1], self.box_rows, self.box_columns) == 0).any()

        _, cells = jax.lax.while_loop(is_unfinished, draw_again, (cells_key, jnp.zeros_like(solution)))
        return jnp.append(cells, self.size + 1 + self.num_cells - num_givens)

    def _full_board_goal(self) -> Goal:
        """Returns the goal that no cell is empty, and nothing else."""
        is_count = jnp.arange(self.num_tokens) == self.num_cells
        return Goal(tokens=jnp.where(is_count, self.size + 1, 0), mask=is_count)

    def hindsight_mask(self, state: Int[Array, " N"], key: Key[Array, ""]) -> Bool[Array, " N"]:
        """The number of empty cells alone."""
        return jnp.arange(self.num_tokens) == self.num_cells

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the number of empty cells where the board can be completed; -1 for a dead end.

        -1 also for what is no state, and for goals other than a full board.
        """
        starts, goal = np.asarray(problems.start), self._full_board_goal()
        mask, counts = np.asarray(problems.goal.mask), np.asarray(problems.goal.tokens)[:, -1]
        cells = starts[:, :-1]
        num_empty = (cells == 0).sum(axis=1)
        known = (mask == np.asarray(goal.mask)).all(axis=1) & (counts == int(goal.tokens[-1]))
        known &= (cells >= 0).all(axis=1) & (cells <= self.size).all(axis=1)
        known &= starts[:, -1] == self.size + 1 + num_empty
        known[known] = can_be_completed(cells[known], box_rows=self.box_rows, box_columns=self.box_columns)
        return np.where(known, num_empty, -1)

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: its shape, a digit, a broken rule or the count of empty cells.

        Whether the board can be completed is no question of validity: walks end in dead ends.
        """
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_cells} cells and the number of empty ones, came shape {list(state.shape)}"
        cells = state[:-1]
        if cells.min() < 0 or cells.max() > self.size:
            return f"expected 0 (empty) or digits up to {self.size} in every cell, came {cells.tolist()}"
        for number, unit in enumerate(unit_cells(self.box_rows, self.box_columns)):
            counts = np.bincount(cells[unit], minlength=self.size + 1)[1:]
            if counts.max() > 1:
                kind, place = ("row", "column", "box")[number // self.size], number % self.size + 1
                return f"the digit {int(np.argmax(counts)) + 1} occurs {counts.max()} times in {kind} {place}"
        expected = self.size + 1 + int((cells == 0).sum())
        if state[-1] != expected:
            return f"expected the last token {expected}, for {expected - self.size - 1} empty cells, came {state[-1]}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, n * n], the cells row by row with 0 for an empty one.

        A board that cannot be completed is no error: whether there is a way is the question, so such problems are
        graded with the optimal length -1. Nor is one with several solutions, each of which will do.

        Raises:
          ValueError: the array is missing or of the wrong shape, or a board holds something else than digits or
            breaks a rule; the message names the problem.
        """
        if "start" not in arrays:
            raise ValueError(f"expected an array `start`, came the arrays {sorted(arrays)}")
        boards = np.asarray(arrays["start"])
        is_batch = boards.ndim == 2 and len(boards) > 0 and boards.shape[1] == self.num_cells
        if not is_batch or not np.issubdtype(boards.dtype, np.integer):
            raise ValueError(
                f"`start` must be integers of shape [problems, {self.num_cells}] for {self.name}, "
                f"came {boards.dtype} of shape {list(boards.shape)}"
            )
        counts = self.size + 1 + (boards == 0).sum(axis=1)
        starts = states_from_arrays(self, {"start": np.column_stack([boards.astype(np.int64), counts])}, "start")
        goal = self._full_board_goal()
        return Problem(start=starts, goal=jax.tree.map(lambda leaf: jnp.tile(leaf, (len(starts), 1)), goal))

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the board with lines between the boxes; an empty cell is a dot."""
        digits = [str(digit or ".") for digit in np.asarray(state)[:-1].tolist()]
        between_bands = "-+-".join(["-" * (2 * self.box_columns - 1)] * self.box_rows)
        lines = []
        for row in range(self.size):
            if row and row % self.box_rows == 0:
                lines.append(between_bands)
            start = row * self.size
            boxes = [digits[i : i + self.box_columns] for i in range(start, start + self.size, self.box_columns)]
            lines.append(" | ".join(" ".join(box) for box in boxes))
        return "\n".join(lines)

    def render_goal(self, goal: Goal) -> str:
        """See base class: the property."""
        return "a full board"

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: the digits, in boxes of alternating shade."""
        shapes, cell = [], rectangle(0.96, 0.96, 0.06)
        for (row, column), digit in np.ndenumerate(np.asarray(state)[:-1].reshape(self.size, self.size)):
            is_shaded = (row // self.box_rows + column // self.box_columns) % 2
            label = str(digit) if digit else ""
            shapes.append(
                Shape(outline=cell, x=column + 0.5, y=row + 0.5, fill=("floor", "tile")[is_shaded], label=label)
            )
        return Drawing(width=self.size, height=self.size, shapes=tuple(shapes))


def is_test_solution(boards: Int[np.ndarray, "B cells"]) -> Bool[np.ndarray, " B"]:
    """Returns which full boards belong to the test problems, as do all their renamings; the others to training."""
    size = math.isqrt(boards.shape[1])
    # The digits are renamed so that the first row is 0, 1, ..., and the other rows are hashed.
    renamed = np.take_along_axis(np.argsort(boards[:, :size], axis=1), boards - 1, axis=1)[:, size:]
    # 32-bit integers alone, so that no version of anything changes the halves.
    multiplier, digests = np.uint32(0x9E3779B1), np.zeros(len(boards), np.uint32)
    for digits in renamed.T.astype(np.uint32):
        digests = (digests ^ digits) * multiplier
        digests ^= digests >> np.uint32(15)
    return digests * multiplier >> np.uint32(31) == 0


@functools.cache
def _solutions_of_half(box_rows: int, box_columns: int, is_test: bool) -> Int[np.ndarray, "solutions cells"]:
    boards = solutions(box_rows, box_columns).astype(np.int32)
    return boards[is_test_solution(boards) == is_test]
