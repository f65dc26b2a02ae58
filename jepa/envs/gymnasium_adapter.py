"""Gymnasium's tabular environments: Taxi, Frozen Lake, Cliff Walking and whatever else has a table of transitions.

The table is read once (`gymnasium_table.py`); everything after that is a lookup in it, so Gymnasium itself is needed to
build a domain but not to step it.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.envs.base import Env, full_goal
from jepa.envs.gymnasium_table import Table, read_table, table_distances
from jepa.envs.problem_arrays import goals_from_arrays, states_from_arrays
from jepa.types import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class GymnasiumTable(Env):
    """An environment of Gymnasium with discrete states and actions and a table `P` of deterministic transitions.

    A state is what the environment's `decode` makes of its number (Taxi: row, column, passenger, destination), or that
    number itself where there is no `decode`. Actions keep their numbers; legal are those that change the state. States
    are those that an episode can reach from the environment's own starts, and where an episode ends nothing is legal.

    An end is a success if none is rewarded higher: the passenger dropped at the destination (20), the present and not
    a hole (1 against 0), the far side of the cliff (-1 like every move, but nothing else ends an episode). A problem
    starts in any state from which a success can be reached, uniformly, and its goal is the nearest success.

    The table is taken at its word: what `step` does behind its back (Taxi's `fickle_passenger`) goes unnoticed.
    """

    env_id: str = "Taxi-v4"
    """Name and version under which Gymnasium, or an installed plugin of it, registers the environment."""
    arguments: str = "{}"
    """Arguments of the environment, as a JSON object, such as `{"is_slippery": false}`."""

    def __post_init__(self) -> None:
        """Refuses what is no deterministic table, and everything if Gymnasium is not installed."""
        read_table(self.env_id, self.arguments)

    @property
    def _table(self) -> Table:
        return read_table(self.env_id, self.arguments)

    @property
    def name(self) -> str:
        """Such as `gymnasium_taxi_v4`; a digest of the arguments follows where there are any."""
        slug = "gymnasium_" + re.sub("[^a-z0-9]+", "_", self.env_id.lower())
        arguments = json.loads(self.arguments)
        if not arguments:
            return slug
        return f"{slug}_{hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:8]}"

    @property
    def num_tokens(self) -> int:
        """One per decoded number."""
        return self._table.tokens.shape[1]

    @property
    def vocab_size(self) -> int:
        """The largest token, and 0."""
        return int(self._table.tokens.max()) + 1

    @property
    def action_names(self) -> tuple[str, ...]:
        """The numbers of the actions: a table has no names for them."""
        return tuple(str(action) for action in range(self._table.successors.shape[1]))

    @property
    def is_reversible(self) -> bool:
        """No: nothing leads back from the end of an episode."""
        return False

    def _number(self, state: Int[Array, " N"]) -> Int[Array, ""]:
        """Returns the environment's number of a state."""
        return jnp.asarray(self._table.numbers)[state @ jnp.asarray(self._table.strides)]

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Looks up the next state."""
        following = jnp.asarray(self._table.successors)[self._number(state), action]
        return jnp.asarray(self._table.tokens)[following]

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Actions that change the state; none where an episode has ended."""
        return jnp.asarray(self._table.legal)[self._number(state)]

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a start as the environment does."""
        number = jax.random.choice(key, len(self._table.tokens), p=jnp.asarray(self._table.start_probabilities))
        return jnp.asarray(self._table.tokens)[number]

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start uniformly from the states from which a success can be reached; the goal is the nearest one."""
        start = jax.random.choice(key, jnp.asarray(np.flatnonzero(self._table.goals >= 0)))
        goal = jnp.asarray(self._table.goals)[start]
        tokens = jnp.asarray(self._table.tokens)
        return Problem(start=tokens[start], goal=full_goal(tokens[goal]))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of actions to any full goal, by breadth-first search on the table.

        -1 where there is no way, where start or goal is no state, and where the goal leaves a token open.
        """
        table = self._table
        starts, goals = self._numbers(np.asarray(problems.start)), self._numbers(np.asarray(problems.goal.tokens))
        known = (starts >= 0) & (goals >= 0) & np.asarray(problems.goal.mask).all(axis=1)
        lengths = np.full(len(starts), -1)
        for goal in np.unique(goals[known]).tolist():
            chosen = known & (goals == goal)
            lengths[chosen] = table_distances(table.successors, table.legal, goal)[starts[chosen]]
        return lengths

    def _numbers(self, states: Int[np.ndarray, "B N"]) -> Int[np.ndarray, " B"]:
        """Returns the environment's numbers of what may be states; -1 of those that are none or are never reached."""
        table = self._table
        in_range = ((states >= 0) & (states <= table.tokens.max(axis=0))).all(axis=1)
        numbers = np.where(in_range, table.numbers[np.where(in_range[:, None], states, 0) @ table.strides], -1)
        return np.where((numbers >= 0) & table.is_reachable[numbers], numbers, -1)

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: its tokens, or that no episode reaches it."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} tokens, came shape {list(state.shape)}"
        largest = self._table.tokens.max(axis=0)
        if (state < 0).any() or (state > largest).any():
            return f"tokens must lie in 0..{largest.tolist()}, came {state.tolist()}"
        if self._numbers(state[None])[0] < 0:
            return f"no episode of {self.env_id} reaches {state.tolist()}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N] and optionally `goal` [B, N], by default the nearest success.

        Raises:
          ValueError: an array is missing or of the wrong shape, a start or a goal is not a state that an episode
            reaches, or no actions lead from a start to its goal; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        nearest = self._table.goals[self._numbers(np.asarray(starts))]
        goal = full_goal(jnp.asarray(self._table.tokens[nearest]))
        if "goal" in arrays:
            goal = goals_from_arrays(self, arrays, len(starts), default=self._table.tokens[0])
            nearest = self.optimal_lengths(Problem(start=starts, goal=goal))
        if (nearest < 0).any():
            index = int(np.argmax(nearest < 0))
            raise ValueError(
                f"problem {index} has no solution: no actions lead from {starts[index].tolist()} to "
                + (f"the goal {goal.tokens[index].tolist()}" if "goal" in arrays else "a success")
            )
        return Problem(start=starts, goal=goal)

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Writes the environment's number of a state, and its tokens."""
        number = int(self._table.numbers[np.asarray(state) @ self._table.strides])
        return f"state {number}: " + " ".join(str(token) for token in np.asarray(state).tolist())
