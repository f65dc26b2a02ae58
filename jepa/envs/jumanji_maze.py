"""Jumanji's Maze: walk to a cell of a maze, on walls never seen in training.

The walls are what differs from problem to problem. One bit of their hash says whether they are for training
(`initial_state`) or for testing (`sample_problem`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, UInt32

from jepa.envs.base import full_goal
from jepa.envs.jumanji_adapter import JumanjiEnv
from jepa.envs.optional_packages import import_extra
from jepa.envs.problem_arrays import goals_from_arrays, states_from_arrays
from jepa.types import Problem

FLOOR, WALL, AGENT = range(3)
"""What a cell can be."""
SYMBOLS = np.array([" ", "#", "@"])
"""How each token is drawn."""
_MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumanjiMaze(JumanjiEnv):
    """A maze, an agent in it, and a cell to walk to.

    A state is the cells row by row: 0 floor, 1 wall, 2 the agent. The target is not in the state but in the goal: the
    same maze with the agent there. Actions move the agent: 0 up, 1 right, 2 down, 3 left.
    """

    rows: int = 10
    """Height of the maze, in cells; at least 5."""
    columns: int = 10
    """Width of the maze, in cells; at least 5."""

    def __post_init__(self) -> None:
        """Refuses mazes of which there are too few to keep some for testing, and everything without Jumanji."""
        if self.rows < 5 or self.columns < 5:
            raise ValueError(f"expected at least 5 rows and 5 columns, came {self.rows}x{self.columns}")
        super().__post_init__()

    def build(self) -> Any:
        """See base class."""
        package = import_extra("jumanji").environments.routing.maze
        return package.Maze(generator=package.generator.RandomGenerator(self.rows, self.columns))

    @property
    def name(self) -> str:
        """Such as `jumanji_maze_10x10`, rows first."""
        return f"jumanji_maze_{self.rows}x{self.columns}"

    @property
    def num_tokens(self) -> int:
        """One token per cell."""
        return self.rows * self.columns

    @property
    def vocab_size(self) -> int:
        """Floor, wall, agent."""
        return len(SYMBOLS)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Ways in which the agent moves, in Jumanji's order."""
        return ("up", "right", "down", "left")

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.rows, self.columns)

    def to_jumanji(self, state: Int[Array, " N"]) -> Any:
        """See base class; the target, which the dynamics do not know, is where the agent is."""
        types = import_extra("jumanji").environments.routing.maze.types
        position = types.Position(*jnp.divmod(jnp.argmax(state == AGENT), self.columns))
        return types.State(
            agent_position=position,
            target_position=position,
            walls=(state == WALL).reshape(self.grid_shape),
            action_mask=self.legal_actions(state),
            step_count=jnp.zeros((), jnp.int32),
            key=jax.random.key(0),
        )

    def from_jumanji(self, state: Any) -> Int[Array, " N"]:
        """See base class."""
        cells = jnp.where(state.walls, WALL, FLOOR).astype(jnp.int32)
        return cells.at[tuple(state.agent_position)].set(AGENT).reshape(-1)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Moves onto the floor."""
        cells = jnp.pad(state.reshape(self.grid_shape), 1, constant_values=WALL)
        row, column = jnp.divmod(jnp.argmax(state == AGENT), self.columns)
        return cells[row + 1 + _MOVES[:, 0], column + 1 + _MOVES[:, 1]] == FLOOR

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a maze of training with the agent anywhere in it."""
        return self._draw(key, is_test=False).start

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a maze for testing as Jumanji does, with the agent and its target in two different cells."""
        return self._draw(key, is_test=True)

    def _draw(self, key: Key[Array, ""], *, is_test: bool) -> Problem:
        """Draws mazes until one belongs to the wanted of the two sets, as about half of all do."""

        def draw(key):
            drawn, _ = self.jumanji.reset(key)
            start = self.from_jumanji(drawn)
            return start, jnp.ravel_multi_index(tuple(drawn.target_position), self.grid_shape, mode="clip")

        def draw_again(carry):
            key, draw_key = jax.random.split(carry[0])
            return key, *draw(draw_key)

        _, start, target = jax.lax.while_loop(
            lambda carry: self.is_test_maze(carry[1]) != is_test, draw_again, draw_again((key,))
        )
        goal = jnp.where(start == AGENT, FLOOR, start).at[target].set(AGENT)
        return Problem(start=start, goal=full_goal(goal))

    def is_test_maze(self, state: Int[Array, " N"]) -> Bool[Array, ""]:
        """Whether the walls of a state belong to the test problems; otherwise training may see them."""
        return _digest(state == WALL) >> 31 == 1

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of moves, by breadth-first search of all mazes at once.

        -1 where there is no way, where start or goal is no state, where their walls differ, and where the goal leaves a
        cell open.
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        known = np.asarray(problems.goal.mask).all(axis=1) & ((starts == WALL) == (goals == WALL)).all(axis=1)
        known &= [self.invalid_reason(state) is None for state in starts]
        known &= [self.invalid_reason(state) is None for state in goals]
        lengths = np.full(len(starts), -1)
        lengths[known] = self._distances(goals[known] == AGENT, goals[known] != WALL)[starts[known] == AGENT]
        return lengths

    def _distances(self, is_goal: Bool[np.ndarray, "B N"], is_free: Bool[np.ndarray, "B N"]) -> Int[np.ndarray, "B N"]:
        """Returns the least number of moves from every cell to one of its maze; -1 where there is no way."""
        distances, reached, depth = np.where(is_goal, 0, -1), is_goal, 0
        while reached.any():
            depth += 1
            padded = np.pad(reached.reshape(-1, *self.grid_shape), ((0, 0), (1, 1), (1, 1)))
            beside = padded[:, :-2, 1:-1] | padded[:, 2:, 1:-1] | padded[:, 1:-1, :-2] | padded[:, 1:-1, 2:]
            reached = beside.reshape(is_free.shape) & is_free & (distances < 0)
            distances[reached] = depth
        return distances

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: the number of cells, their values, or the number of agents."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} cells, came shape {list(state.shape)}"
        if state.min() < 0 or state.max() >= self.vocab_size:
            return f"cells must lie in 0..{self.vocab_size - 1}, came {state.min()}..{state.max()}"
        if (count := int((state == AGENT).sum())) != 1:
            return f"the agent ({AGENT}) must occur once, came {count} times"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N] and `goal` [B, N], the same maze with the agent at the target.

        Raises:
          ValueError: an array is missing or of the wrong shape, a start or a goal is not a state, or no moves lead
            from a start to its goal; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        if "goal" not in arrays:
            raise ValueError(f"expected an array `goal`, came the arrays {sorted(arrays)}")
        goal = goals_from_arrays(self, arrays, len(starts), default=np.asarray(starts[0]))
        problems = Problem(start=starts, goal=goal)
        lengths = self.optimal_lengths(problems)
        if (lengths < 0).any():
            raise ValueError(
                f"problem {int(np.argmax(lengths < 0))} has no solution: the walls of start and goal differ, or "
                f"stand between them"
            )
        return problems

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the maze: `#` wall, `@` agent, inside of a frame."""
        rows = SYMBOLS[np.asarray(state)].reshape(self.grid_shape)
        frame = "+" + "-" * self.columns + "+"
        return "\n".join([frame, *("|" + "".join(row) + "|" for row in rows), frame])


def _digest(bits: Bool[Array, " N"]) -> UInt32[Array, ""]:
    """Returns a hash of bits in order, in 32-bit integers alone, so that no version of anything changes it."""

    def mix(digest, bit):
        digest = (digest ^ bit) * jnp.uint32(0x9E3779B1)
        return digest ^ (digest >> 15), None

    digest, _ = jax.lax.scan(mix, jnp.uint32(0x85EBCA6B), bits.astype(jnp.uint32))
    return digest * jnp.uint32(0x85EBCA6B)
