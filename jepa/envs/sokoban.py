"""Sokoban: push every box to a target; boxes cannot be pulled, so a careless push may make the level unsolvable."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing, Shape, circle, rectangle
from jepa.envs.base import Env, GoalKind
from jepa.envs.problem_arrays import states_from_arrays
from jepa.envs.sokoban_levels import (
    BOX,
    FLOOR,
    PLAYER,
    WALL,
    border_cells,
    draw_test_problem,
    draw_training_level,
    player_offsets,
)
from jepa.envs.sokoban_solver import shortest_solution_length
from jepa.types import Goal, Problem

SYMBOLS = np.array([" ", "#", "$", "@"])
"""How each token is drawn, as is usual for Sokoban."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sokoban(Env):
    """A square board with a border of walls, a few walls inside, some boxes and a player.

    A state is the cells row by row: 0 floor, 1 wall, 2 box, 3 player. The targets are not in the state but in the
    goal, which asks for a box in each of a few cells and leaves all others open. Actions move the player: 0 up,
    1 down, 2 left, 3 right; a box ahead is pushed if the cell behind it is free.

    The wall layout is what differs from level to level. One bit of its hash says whether it is for training
    (`initial_state`) or for testing (`sample_problem`); see `sokoban_levels.py`.
    """

    size: int = 7
    """Width and height of the board with its border, in cells; at least 6."""
    num_boxes: int = 2
    """Boxes, and targets of a drawn problem; at most an eighth of the cells inside the border."""
    num_inner_walls: int = 2
    """Walls inside the border of a drawn level, at most a sixth of the cells there; given levels may have any."""

    def __post_init__(self) -> None:
        """Refuses sizes of which no layouts, or no levels that can be played, might be found."""
        if self.size < 6:
            raise ValueError(f"expected a board of at least 6x6 cells with its border, came size {self.size}")
        num_cells = (self.size - 2) ** 2
        for noun, count, most in (
            ("boxes", self.num_boxes, num_cells // 8),
            ("inner walls", self.num_inner_walls, num_cells // 6),
        ):
            if not 1 <= count <= most:
                raise ValueError(f"expected 1 to {most} {noun} for size {self.size}, came {count}")

    @property
    def name(self) -> str:
        """Such as `sokoban_7x7_2`, the number of boxes last."""
        return f"sokoban_{self.size}x{self.size}_{self.num_boxes}"

    @property
    def num_tokens(self) -> int:
        """One token per cell, the border included."""
        return self.size**2

    @property
    def vocab_size(self) -> int:
        """Floor, wall, box, player."""
        return len(SYMBOLS)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Ways in which the player moves."""
        return ("up", "down", "left", "right")

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.size, self.size)

    @property
    def goal_kind(self) -> GoalKind:
        """A goal fixes the target cells alone."""
        return GoalKind.STATE_SET

    @property
    def is_reversible(self) -> bool:
        """No: a push can only be undone by walking around the box, if at all."""
        return False

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Moves the player and the box ahead of it; nothing moves where something is in the way."""
        player, ahead, beyond = self._lines(state)
        ahead, beyond = ahead[action], beyond[action]
        pushed = jnp.where(state[ahead] == BOX, BOX, state[beyond])
        moved = state.at[beyond].set(pushed).at[ahead].set(PLAYER).at[player].set(FLOOR)
        return jnp.where(self.legal_actions(state)[action], moved, state)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Moves onto the floor, and pushes of one box onto the floor."""
        _, ahead, beyond = self._lines(state)
        return (state[ahead] == FLOOR) | ((state[ahead] == BOX) & (state[beyond] == FLOOR))

    def _lines(self, state: Int[Array, " N"]) -> tuple[Int[Array, ""], Int[Array, " A"], Int[Array, " A"]]:
        """Returns the player's cell and the two cells ahead of it each way; the second may lie behind the border."""
        player = jnp.argmax(state == PLAYER)
        offsets = player_offsets(self.size)
        return player, player + offsets, jnp.clip(player + 2 * offsets, 0, self.num_tokens - 1)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a level of the training split in which some box can be pushed and none stands in a corner."""
        return draw_training_level(key, size=self.size, num_boxes=self.num_boxes, num_inner_walls=self.num_inner_walls)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a level of the test split with all boxes off their targets, solvable as it was played backwards."""
        return draw_test_problem(key, size=self.size, num_boxes=self.num_boxes, num_inner_walls=self.num_inner_walls)

    def hindsight_mask(self, state: Int[Array, " N"], key: Key[Array, ""]) -> Bool[Array, " N"]:
        """The cells of the boxes: where the boxes got to could have been the targets."""
        return state == BOX

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of moves.

        -1 where there is no solution (the state is a dead end), where start or goal is not of this domain, and
        where the search would exceed the solver's node budget.
        """
        starts = np.asarray(problems.start)
        targets, masks = np.asarray(problems.goal.tokens), np.asarray(problems.goal.mask)
        lengths = np.full(len(starts), -1)
        for index, (start, tokens, mask) in enumerate(zip(starts, targets, masks, strict=True)):
            if self.invalid_reason(start) is None and (tokens[mask] == BOX).all():
                lengths[index] = shortest_solution_length(start, mask, size=self.size)
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: tokens, border, number of boxes and players."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} cells, came shape {list(state.shape)}"
        if state.min() < 0 or state.max() >= self.vocab_size:
            return f"cells must lie in 0..{self.vocab_size - 1}, came {state.min()}..{state.max()}"
        open_cells = np.flatnonzero(border_cells(self.size) & (state != WALL))
        if len(open_cells):
            return f"the border must be wall, came {state[open_cells[0]]} in cell {open_cells[0]}"
        for token, noun, expected in ((PLAYER, "player", 1), (BOX, "box", self.num_boxes)):
            count = int((state == token).sum())
            if count != expected:
                return f"the {noun} ({token}) must occur {expected} times, came {count} times"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N] and `goal` [B, N], in which 2 is a target and all else is 0.

        There may be fewer targets than boxes. Walls may be anywhere inside. Whether there is a solution is not
        checked: that takes a search.

        Raises:
          ValueError: an array is missing or of the wrong shape, a start is not a state, or a goal has other values,
            no targets, more targets than boxes, or targets on walls; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        if "goal" not in arrays:
            raise ValueError(f"expected an array `goal`, came the arrays {sorted(arrays)}")
        goals = np.asarray(arrays["goal"])
        if goals.shape != starts.shape or not np.issubdtype(goals.dtype, np.integer):
            raise ValueError(
                f"`goal` must be integers of the shape {list(starts.shape)} of `start`, "
                f"came {goals.dtype} of shape {list(goals.shape)}"
            )
        for index, (start, goal) in enumerate(zip(np.asarray(starts), goals, strict=True)):
            reason = self._invalid_goal_reason(start, goal)
            if reason is not None:
                raise ValueError(f"`goal` of problem {index} is not a goal of {self.name}: {reason}")
        return Problem(start=starts, goal=Goal(tokens=jnp.asarray(goals, jnp.int32), mask=jnp.asarray(goals == BOX)))

    def _invalid_goal_reason(self, start: Int[np.ndarray, " N"], goal: Int[np.ndarray, " N"]) -> str | None:
        targets = goal == BOX
        others = np.unique(goal[~targets & (goal != FLOOR)])
        if len(others):
            return f"expected {BOX} for a target and {FLOOR} for all else, came {others.tolist()} too"
        if not 1 <= targets.sum() <= self.num_boxes:
            return f"expected 1 to {self.num_boxes} targets, as many as boxes at most, came {targets.sum()}"
        blocked = np.flatnonzero(targets & (start == WALL))
        if len(blocked):
            return f"targets must not be walls, came a target in cell {blocked[0]}, which is a wall"
        return None

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the board: `#` wall, `$` box, `@` player; the targets are not part of a state."""
        symbols = SYMBOLS[np.asarray(state)].reshape(self.grid_shape)
        return "\n".join("".join(row) for row in symbols)

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: walls, boxes and player, with the goal's targets beneath them."""
        things = {
            WALL: (rectangle(1.0, 1.0), "wall"),
            BOX: (rectangle(0.76, 0.76, 0.08), "box"),
            PLAYER: (circle(0.32), "player"),
        }
        (rows, columns), tokens, shapes = self.grid_shape, np.asarray(state).tolist(), []
        for cell, is_target in enumerate(np.asarray(goal.mask).tolist()):
            place = dict(x=cell % columns + 0.5, y=cell // columns + 0.5)
            shapes.append(Shape(outline=rectangle(1.0, 1.0), fill="floor", **place))
            if is_target:
                shapes.append(Shape(outline=circle(0.18), fill="target", **place))
        for cell, token in enumerate(tokens):
            if token in things:
                outline, fill = things[token]
                if token == BOX and goal.mask[cell]:
                    fill = "accent"
                place = dict(x=cell % columns + 0.5, y=cell // columns + 0.5)
                shapes.append(Shape(outline=outline, fill=fill, key="player" if token == PLAYER else "", **place))
        return Drawing(width=columns, height=rows, shapes=tuple(shapes))
