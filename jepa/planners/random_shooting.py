"""Random shooting: imagine random action sequences and keep the best; the floor of every comparison."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.types import Plan, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomShooting(Planner):
    """Draws action sequences uniformly among the legal ones and returns the first that reaches the goal.

    Of the sequences that claim the goal the shortest is returned, otherwise the prefix of lowest predicted cost.
    """

    num_samples: int = 1024
    """Imagined action sequences per problem; each generates `horizon` nodes."""
    horizon: int = 20
    """Actions of each sequence."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_samples", "horizon", "same_state_tolerance")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""
        batch, width = start.shape

        def costs_of(latents):
            samples = latents.reshape(batch, self.num_samples, width)
            reached = model.goal_difference(samples, goal) < self.same_state_tolerance
            return model.cost(samples, goal).reshape(-1), reached.reshape(-1)

        def imagine(latents, step):
            legal = model.legal_actions(latents)
            weights = jnp.where(legal, 0.0, -jnp.inf)
            actions = jax.random.categorical(jax.random.fold_in(key, step), weights)
            latents = model.predict(latents, actions)
            return latents, (actions, *costs_of(latents))

        first = jnp.repeat(start, self.num_samples, axis=0)
        first_cost, first_reached = costs_of(first)
        _, (actions, costs, reached) = jax.lax.scan(imagine, first, jnp.arange(self.horizon))
        costs = jnp.concatenate([first_cost[None], costs])
        reached = jnp.concatenate([first_reached[None], reached])
        # A claimed goal beats any cost, and the earlier it is reached the better.
        scores = jnp.where(reached, jnp.arange(self.horizon + 1)[:, None] - 1e6, costs)
        scores = scores.reshape(self.horizon + 1, batch, self.num_samples).swapaxes(0, 1)
        best = jnp.argmin(scores.reshape(batch, -1), axis=1)
        length, sample = best // self.num_samples, best % self.num_samples
        chosen = jnp.arange(batch) * self.num_samples + sample
        steps = jnp.arange(self.horizon + 1)
        return Plan(
            actions=jnp.where(steps[:-1] < length[:, None], actions[:, chosen].T, -1),
            predicted_costs=jnp.where(steps <= length[:, None], costs[:, chosen].T, jnp.nan),
            claims_solved=reached[length, chosen],
            num_nodes_generated=jnp.full(batch, self.num_samples * self.horizon, jnp.int32),
        )

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.num_samples
