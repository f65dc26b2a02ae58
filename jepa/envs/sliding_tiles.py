"""Sliding tiles on a rectangular board: the 8-puzzle (3x3), the 15-puzzle (4x4) and their like.

Half of all arrangements can be reached from a goal. A move swaps the blank with a neighbouring tile and moves
it by one cell, so the parity of the permutation from start to goal must equal the parity of the blank's way;
on boards of at least 2x2 that is also enough.
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
from jepa.envs.base import Env, full_goal
from jepa.envs.distance_table import (
    breadth_first_distances,
    cached_distances,
    rank_permutations,
    unrank_permutations,
)
from jepa.envs.problem_arrays import goals_from_arrays, numbers_from_text, states_from_arrays
from jepa.envs.tile_search import search_lengths
from jepa.types import Goal, Problem

MAX_TABLE_CELLS = 10
"""Largest board whose exact distances are tabulated: 10! arrangements take a second, 12! would not fit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlidingTiles(Env):
    """Tiles 1, 2, ... and a blank, 0; the usual goal has the tiles in order and the blank last.

    A state is the cells row by row. Actions move the blank: 0 up, 1 down, 2 left, 3 right. On 3x3 there are
    181,440 states on the goal's side, at most 31 and on average 21.97 moves from it.
    """

    rows: int = 3
    """Height of the board, in cells; at least 2."""
    columns: int = 3
    """Width of the board, in cells; at least 2."""

    def __post_init__(self) -> None:
        """Refuses boards on which the tiles could not pass each other."""
        if self.rows < 2 or self.columns < 2:
            raise ValueError(f"a board needs at least 2 rows and 2 columns, came {self.rows}x{self.columns}")

    @property
    def name(self) -> str:
        """Such as `sliding_tiles_3x3`, rows first."""
        return f"sliding_tiles_{self.rows}x{self.columns}"

    @property
    def num_tokens(self) -> int:
        """One token per cell."""
        return self.rows * self.columns

    @property
    def vocab_size(self) -> int:
        """The tiles and the blank."""
        return self.num_tokens

    @property
    def action_names(self) -> tuple[str, ...]:
        """Ways in which the blank moves."""
        return ("up", "down", "left", "right")

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.rows, self.columns)

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Moves the blank; beyond the border nothing moves."""
        blank = jnp.argmin(state)
        target = jnp.asarray(_blank_targets(self.rows, self.columns))[blank, action]
        return state.at[blank].set(state[target]).at[target].set(0)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Moves that keep the blank on the board."""
        blank = jnp.argmin(state)
        return jnp.asarray(_blank_targets(self.rows, self.columns))[blank] != blank

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """The usual goal."""
        return jnp.asarray(_ordered(self.num_tokens, self.num_tokens - 1))

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start uniformly from the states that can reach the usual goal."""
        goal = self.initial_state(key)
        start = jax.random.permutation(key, goal)
        swapped = jnp.where(start == 1, 2, jnp.where(start == 2, 1, start))
        start = jnp.where(self._same_side(start, goal), start, swapped)
        return Problem(start=start, goal=full_goal(goal))

    def _same_side(self, start: Int[Array, " N"], goal: Int[Array, " N"]) -> Bool[Array, ""]:
        """Whether moves lead from start to goal."""
        destinations = jnp.argsort(goal)[start]
        inverted = jnp.triu(destinations[:, None] > destinations[None, :])
        start_row, start_column = jnp.divmod(jnp.argmin(start), self.columns)
        goal_row, goal_column = jnp.divmod(jnp.argmin(goal), self.columns)
        return (inverted.sum() + start_row + start_column + goal_row + goal_column) % 2 == 0

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of moves to any full goal; -1 where there is no way or the goal leaves a cell open.

        Tiles may be renamed without changing a distance, so one table per place of the goal's blank is
        enough. Boards of more than 10 cells are searched instead, and -1 then also says that the search was given
        up: rarely on 4x4, nearly always on random 5x5 boards (see `tile_search.search_lengths`).
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        lengths = np.full(len(starts), -1)
        cells = np.arange(self.num_tokens)
        known = (np.sort(starts, axis=1) == cells).all(axis=1) & (np.sort(goals, axis=1) == cells).all(axis=1)
        known &= np.asarray(problems.goal.mask).all(axis=1)
        if self.num_tokens > MAX_TABLE_CELLS:
            known &= np.asarray(jax.vmap(self._same_side)(jnp.asarray(starts), jnp.asarray(goals)))
            lengths[known] = search_lengths(self.rows, self.columns, starts[known], goals[known])
            return lengths
        blanks = np.argmin(goals, axis=1)
        for blank in np.unique(blanks[known]).tolist():
            chosen = known & (blanks == blank)
            names = _ordered(self.num_tokens, blank)[np.argsort(goals[chosen], axis=1)]
            renamed = np.take_along_axis(names, starts[chosen], axis=1)
            lengths[chosen] = _distances(self.rows, self.columns, blank)[rank_permutations(renamed)]
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state; whether it can reach a goal is a question about the goal."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} cells, came shape {list(state.shape)}"
        if (np.sort(state) != np.arange(self.num_tokens)).any():
            return f"each of 0 (the blank) to {self.num_tokens - 1} must occur once, came {state.tolist()}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N] and optionally `goal` [B, N], by default the usual goal.

        Raises:
          ValueError: an array is missing or of the wrong shape, a state does not hold every number once, or
            no moves lead from a start to its goal; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        ordered = _ordered(self.num_tokens, self.num_tokens - 1)
        goal = goals_from_arrays(self, arrays, len(starts), default=ordered)
        unsolvable = ~np.asarray(jax.vmap(self._same_side)(starts, goal.tokens))
        if unsolvable.any():
            index = int(np.argmax(unsolvable))
            raise ValueError(
                f"problem {index} has no solution: no moves lead from {starts[index].tolist()} to the goal "
                f"{goal.tokens[index].tolist()}, which lies on the other side by parity"
            )
        return Problem(start=starts, goal=goal)

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: the board row by row, the blank as 0, such as `8 6 7 / 2 5 4 / 3 0 1`."""
        what = f"the {self.num_tokens} numbers of a board, row by row and the blank as 0"
        numbers = numbers_from_text(text, what)
        if len(numbers) != self.num_tokens:
            raise ValueError(f"expected {what}; came {len(numbers)} in {text!r}")
        return {"start": np.array([numbers])}

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the board; the blank is a dot."""
        width = len(str(self.num_tokens - 1))
        cells = [str(tile or ".").rjust(width) for tile in np.asarray(state).tolist()]
        return "\n".join(" ".join(cells[row * self.columns : (row + 1) * self.columns]) for row in range(self.rows))

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: numbered tiles, which keep their keys when they slide; those in their goal's cell are lit."""
        shapes, tile = [], rectangle(0.94, 0.94, 0.12)
        goal_tokens = np.asarray(goal.tokens)
        for cell, number in enumerate(np.asarray(state).tolist()):
            if number:
                row, column = divmod(cell, self.columns)
                fill = "accent" if goal_tokens[cell] == number else "tile"
                place = dict(x=column + 0.5, y=row + 0.5, key=f"tile{number}")
                shapes.append(Shape(outline=tile, fill=fill, label=str(number), **place))
        return Drawing(width=self.columns, height=self.rows, shapes=tuple(shapes))


@functools.cache
def _blank_targets(rows: int, columns: int) -> Int[np.ndarray, "N 4"]:
    """Returns where each action moves the blank from each cell: nowhere where it is illegal."""
    row, column = np.divmod(np.arange(rows * columns)[:, None], columns)
    new_row = np.clip(row + np.array([-1, 1, 0, 0]), 0, rows - 1)
    new_column = np.clip(column + np.array([0, 0, -1, 1]), 0, columns - 1)
    return new_row * columns + new_column


def _ordered(num_cells: int, blank: int) -> Int[np.ndarray, " N"]:
    """Returns the board with the blank in a given cell and the tiles in order in the others."""
    return np.insert(np.arange(1, num_cells, dtype=np.int32), blank, 0)


def build_distances(rows: int, columns: int, blank: int) -> Int[np.ndarray, " num_permutations"]:
    """Computes the distance of every arrangement to the ordered board with its blank in a given cell.

    Arrangements are numbered by `rank_permutations`; those on the other side of the parity get -1.
    """
    num_cells = rows * columns
    targets = _blank_targets(rows, columns)

    def neighbours(ranks):
        boards = unrank_permutations(ranks, num_cells)
        blanks = np.argmin(boards, axis=1)
        for action in range(4):
            legal = targets[blanks, action] != blanks
            moved, cells = boards[legal], np.arange(legal.sum())
            new_blanks = targets[blanks[legal], action]
            moved[cells, blanks[legal]] = moved[cells, new_blanks]
            moved[cells, new_blanks] = 0
            yield rank_permutations(moved)

    goal = int(rank_permutations(_ordered(num_cells, blank)[None])[0])
    return breadth_first_distances(num_states=math.factorial(num_cells), goal=goal, neighbours=neighbours)


@functools.cache
def _distances(rows: int, columns: int, blank: int) -> Int[np.ndarray, " num_permutations"]:
    return cached_distances(
        name=f"sliding_tiles_{rows}x{columns}_blank{blank}",
        num_states=math.factorial(rows * columns),
        build=functools.partial(build_distances, rows, columns, blank),
    )
