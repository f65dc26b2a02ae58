"""Lights Out on a square board: a press toggles a cell and its neighbours; all lights are to go out.

Presses commute and cancel in pairs, so a plan is a set of cells, and which sets lead from one board to another is
a system of linear equations over the field of two elements. Its solutions differ by the quiet patterns, the sets of
presses that change nothing: there are 4 of them on 5x5 and only the empty one on 7x7.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing, Shape, rectangle
from jepa.envs.base import Env, full_goal
from jepa.envs.problem_arrays import goals_from_arrays, states_from_arrays
from jepa.types import Goal, Problem

MAX_QUIET_DIMENSION = 16
"""Largest dimension of the quiet patterns among which a shortest solution is looked for, one by one: 2^16 of them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LightsOut(Env):
    """A board of lights; the usual goal is that all are off.

    A state is the lights row by row, 1 is on. Action k presses cell k, which toggles it and its neighbours above,
    below, left and right; every press is legal and undoes itself. On 5x5 a quarter of all boards, 2^23, can be
    solved, with at most 15 presses; on 7x7 all 2^49.
    """

    size: int = 5
    """Height and width of the board, in cells; at least 1."""

    def __post_init__(self) -> None:
        """Refuses boards without cells."""
        if self.size < 1:
            raise ValueError(f"a board needs a size of at least 1, came {self.size}")

    @property
    def name(self) -> str:
        """Such as `lights_out_5x5`."""
        return f"lights_out_{self.size}x{self.size}"

    @property
    def num_tokens(self) -> int:
        """One token per light."""
        return self.size**2

    @property
    def vocab_size(self) -> int:
        """Off and on."""
        return 2

    @property
    def action_names(self) -> tuple[str, ...]:
        """Row and column of the pressed cell, from 0."""
        return tuple(f"{row},{column}" for row in range(self.size) for column in range(self.size))

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.size, self.size)

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Presses a cell."""
        return state ^ jnp.asarray(_toggles(self.size))[action]

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Every press, always."""
        return jnp.ones(self.num_actions, bool)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """All lights off."""
        return jnp.zeros(self.num_tokens, jnp.int32)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start uniformly from the boards that can be solved; the goal is all lights off.

        A uniform set of presses makes a uniform board, because each board comes from equally many sets.
        """
        presses = jax.random.bernoulli(key, 0.5, (self.num_actions,)).astype(jnp.int32)
        start = presses @ jnp.asarray(_toggles(self.size)) % 2
        return Problem(start=start, goal=full_goal(jnp.zeros_like(start)))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of presses, for any full goal: one solution, and the best quiet pattern to add.

        -1 where there is no way, where start or goal is no board, where the goal leaves a light open, and everywhere
        on boards with more than 2^16 quiet patterns (of the sizes up to 30, only 30x30).
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        lengths = np.full(len(starts), -1)
        quiet = _equations(self.size).quiet
        if len(quiet) > MAX_QUIET_DIMENSION:
            return lengths
        known = (np.isin(starts, (0, 1)) & np.isin(goals, (0, 1)) & np.asarray(problems.goal.mask)).all(axis=1)
        presses = _solve(self.size, (starts ^ goals) % 2)
        known &= (presses >= 0).all(axis=1)
        patterns = _span(quiet)
        for index in np.flatnonzero(known).tolist():
            lengths[index] = (patterns ^ presses[index].astype(np.int8)).sum(axis=1).min()
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state; whether it can be solved is a question about the goal."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} lights, came shape {list(state.shape)}"
        wrong = (state < 0) | (state > 1)
        if wrong.any():
            cell = int(np.argmax(wrong))
            return f"a light must be 0 (off) or 1 (on), came {state[cell]} at cell {cell}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N] and optionally `goal` [B, N], by default all lights off.

        Raises:
          ValueError: an array is missing or of the wrong shape, a light is neither 0 nor 1, or no presses lead from
            a start to its goal; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        goal = goals_from_arrays(self, arrays, len(starts), default=np.zeros(self.num_tokens, np.int32))
        unsolvable = (_solve(self.size, np.asarray(starts ^ goal.tokens)) < 0).any(axis=1)
        if unsolvable.any():
            index = int(np.argmax(unsolvable))
            raise ValueError(
                f"problem {index} has no solution: no presses lead from {starts[index].tolist()} to the goal "
                f"{goal.tokens[index].tolist()}"
            )
        return Problem(start=starts, goal=goal)

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: a `#` for each light that is on and a `.` for each that is off, row by row."""
        lights = "".join(text.replace("/", " ").split())
        if len(lights) != self.num_tokens or set(lights) - {"#", "."}:
            raise ValueError(f"expected {self.num_tokens} lights, row by row, each # (on) or . (off); came {text!r}")
        return {"start": np.array([[int(light == "#") for light in lights]])}

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the board; a light that is on is a hash, one that is off a dot."""
        rows = np.where(np.asarray(state) == 1, "#", ".").reshape(self.size, self.size)
        return "\n".join(" ".join(row) for row in rows)

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: the lights, bright where they are on."""
        light = rectangle(0.9, 0.9, 0.2)
        shapes = [
            Shape(outline=light, x=column + 0.5, y=row + 0.5, fill="light" if is_on else "dark")
            for (row, column), is_on in np.ndenumerate(np.asarray(state).reshape(self.size, self.size) == 1)
        ]
        return Drawing(width=self.size, height=self.size, shapes=tuple(shapes))


@functools.cache
def _toggles(size: int) -> Int[np.ndarray, "N N"]:
    """Returns for each press which cells it toggles; the matrix is symmetric."""
    row, column = np.divmod(np.arange(size**2), size)
    apart = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
    return (apart <= 1).astype(np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Equations:
    """The equations "these presses toggle those lights", solved once for all right-hand sides."""

    solver: Int[np.ndarray, "N N"]
    """Lights to toggle, times this: presses that do it, if any do."""
    quiet: Int[np.ndarray, "rank N"]
    """A basis of the sets of presses that change nothing."""


@functools.cache
def _equations(size: int) -> _Equations:
    """Solves the equations by elimination over the field of two elements."""
    num_cells = size**2
    # Row operations are recorded in the right half.
    rows = np.concatenate([_toggles(size), np.eye(num_cells, dtype=np.int32)], axis=1).astype(np.int8)
    pivots = []
    for column in range(num_cells):
        candidates = np.flatnonzero(rows[len(pivots) :, column]) + len(pivots)
        if not candidates.size:
            continue
        rows[[len(pivots), candidates[0]]] = rows[[candidates[0], len(pivots)]]
        others = np.flatnonzero(rows[:, column])
        others = others[others != len(pivots)]
        rows[others] ^= rows[len(pivots)]
        pivots.append(column)
    free = np.setdiff1d(np.arange(num_cells), pivots)
    solver = np.zeros((num_cells, num_cells), np.int32)
    solver[:, pivots] = rows[: len(pivots), num_cells:].T
    quiet = np.zeros((len(free), num_cells), np.int8)
    quiet[np.arange(len(free)), free] = 1
    quiet[:, pivots] = rows[: len(pivots), free].T
    return _Equations(solver=solver, quiet=quiet)


def _solve(size: int, lights: Int[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
    """Returns for each pattern of lights a set of presses that toggles them; a row of -1 where none does."""
    presses = lights @ _equations(size).solver % 2
    solved = (presses @ _toggles(size) % 2 == lights).all(axis=1)
    return np.where(solved[:, None], presses, -1)


def _span(basis: Int[np.ndarray, "rank N"]) -> Int[np.ndarray, "K N"]:
    """Returns all sums of some of the vectors of a basis."""
    sums = np.zeros((1, basis.shape[1]), np.int8)
    for vector in basis:
        sums = np.concatenate([sums, sums ^ vector])
    return sums
