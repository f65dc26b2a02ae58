"""A 4x4 grid as a domain: one token, four moves, every distance known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jepa.envs.base import Env, full_goal
from jepa.types import Problem

SIZE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(Env):
    """Moves off the grid are illegal."""

    @property
    def name(self):
        return "grid"

    @property
    def num_tokens(self):
        return 1

    @property
    def vocab_size(self):
        return SIZE * SIZE

    @property
    def action_names(self):
        return ("up", "down", "left", "right")

    def _target(self, state, action):
        row, column = state[0] // SIZE, state[0] % SIZE
        return row + jnp.array([-1, 1, 0, 0])[action], column + jnp.array([0, 0, -1, 1])[action]

    def legal_actions(self, state):
        row, column = jax.vmap(lambda action: jnp.stack(self._target(state, action)))(jnp.arange(4)).T
        return (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE)

    def step(self, state, action):
        row, column = self._target(state, action)
        return jnp.where(self.legal_actions(state)[action], (row * SIZE + column)[None], state)

    def initial_state(self, key):
        return jnp.zeros(1, jnp.int32)

    def sample_problem(self, key):
        start, goal = jax.random.randint(key, (2, 1), 0, SIZE * SIZE)
        return Problem(start=start, goal=full_goal(goal))

    def optimal_lengths(self, problems):
        return distances()[np.asarray(problems.start)[:, 0], np.asarray(problems.goal.tokens)[:, 0]]

    def invalid_reason(self, state):
        return None

    def problems_from_arrays(self, arrays):
        raise ValueError("not from files")

    def render(self, state):
        return str(state)


def distances() -> np.ndarray:
    rows, columns = np.divmod(np.arange(SIZE * SIZE), SIZE)
    return np.abs(rows[:, None] - rows) + np.abs(columns[:, None] - columns)
