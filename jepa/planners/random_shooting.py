"""Random shooting: imagine random action sequences and keep the best; the floor of every comparison."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.types import Plan, require_positive

CLAIM_BONUS = 1e6
"""By how much a sequence that claims the goal is better than its number of actions: more than any cost."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomShooting(Planner):
    """Draws action sequences uniformly among the legal ones and returns the first that reaches the goal.

    Of the sequences that claim the goal the shortest is returned, otherwise the prefix of lowest predicted cost.
    """

    compute_axis: ClassVar[str] = "num_samples"

    num_samples: int = 1024
    """Imagined action sequences per problem; each generates `horizon` nodes."""
    horizon: int = 20
    """Actions of each sequence."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_samples", "horizon", "same_state_tolerance")

    def log_weights(
        self, model: PlanningModel, latents: Float[Array, "B K D"], goal: GoalLatents
    ) -> Float[Array, "B K A"]:
        """Returns how often each action is drawn behind each latent, as a logarithm up to a constant."""
        legal = model.legal_actions(latents.reshape(-1, latents.shape[-1]))
        return jnp.where(legal, 0.0, -jnp.inf).reshape(*latents.shape[:2], -1)

    def num_nodes(self, model: PlanningModel, num_moves: Int[Array, "B K"], num_actions: int) -> Int[Array, " B"]:
        """Returns the nodes that the samples generated, given after how many moves each was at the goal."""
        return jnp.full(len(num_moves), self.num_samples * self.horizon, jnp.int32)

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""
        batch, width = start.shape

        def costs_of(latents):
            reached = model.goal_difference(latents, goal) < self.same_state_tolerance
            return model.cost(latents, goal), reached

        def imagine(latents, step):
            weights = self.log_weights(model, latents, goal)
            actions = jax.random.categorical(jax.random.fold_in(key, step), weights)
            latents = model.predict(latents.reshape(-1, width), actions.reshape(-1)).reshape(latents.shape)
            return latents, (actions, *costs_of(latents))

        first = jnp.repeat(start[:, None], self.num_samples, axis=1)
        first_cost, first_reached = costs_of(first)
        _, (actions, costs, reached) = jax.lax.scan(imagine, first, jnp.arange(self.horizon))
        costs = jnp.concatenate([first_cost[None], costs])
        reached = jnp.concatenate([first_reached[None], reached])
        # A claimed goal beats any cost, and the earlier it is reached the better.
        steps = jnp.arange(self.horizon + 1)
        scores = jnp.where(reached, steps[:, None, None] - CLAIM_BONUS, costs).swapaxes(0, 1).reshape(batch, -1)
        best = jnp.argmin(scores, axis=1)
        length, sample, problems = best // self.num_samples, best % self.num_samples, jnp.arange(batch)
        num_moves = jnp.where(reached.any(axis=0), jnp.argmax(reached, axis=0), self.horizon)
        num_actions = jax.eval_shape(model.legal_actions, start).shape[-1]
        return Plan(
            actions=jnp.where(steps[:-1] < length[:, None], actions[:, problems, sample].T, -1),
            predicted_costs=jnp.where(steps <= length[:, None], costs[:, problems, sample].T, jnp.nan),
            claims_solved=reached[length, problems, sample],
            num_nodes_generated=self.num_nodes(model, num_moves, num_actions),
        )

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.num_samples
