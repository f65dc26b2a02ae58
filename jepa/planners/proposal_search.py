"""Beam search that predicts only what an actor proposes: one prediction for each place of the beam, not one per action.

A node's score is the logarithm of the probability of the whole way to it, as if the actor had walked there. Among all
actions of all nodes the most probable are predicted, and of those the ones that look like a latent seen before are
dropped. The cost is not needed to choose; it may be added, and it is what the plan reports.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.planners.frontier import Frontier, FrontierSearch, Successors
from jepa.planners.memory import nonzero_fingerprints
from jepa.types import Plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalSearch(FrontierSearch):
    """Breadth-limited search that is led by an actor; returns the first plan that claims the goal."""

    width: int = 128
    """See base class."""
    oversampling: float = 1.0
    """Successors predicted in each ply, as a multiple of the width; above 1 where many of them have been seen before,
    as when actions can be taken in any order."""
    cost_weight: float = 0.0
    """How much of the predicted cost is taken off a node's score."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        if self.oversampling < 1:
            raise ValueError(f"ProposalSearch.oversampling must be at least 1; got {self.oversampling}")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class.

        Raises:
          ValueError: the model has no actor.
        """
        if model.propose is None:
            raise ValueError("ProposalSearch needs an actor; give the agent `actor=ActorLearning()` and train it")
        return super().plan(model, start, goal, key)

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class: how many successors are predicted in each ply."""
        return min(math.ceil(self.width * self.oversampling), self.width * num_actions)

    def initial_knowledge(self, num_problems: int, num_actions: int) -> tuple:
        """See base class: nothing."""
        return ()

    def successors(
        self, model: PlanningModel, goal: GoalLatents, frontier: Frontier, knowledge: tuple
    ) -> tuple[Successors, tuple]:
        """See base class: the most probable ones; a node's worth is the logarithm of its way's probability."""
        batch, _, latent_width = frontier.latents.shape
        proposals = frontier.worth[..., None] + model.propose(frontier.latents, goal)
        num_actions = proposals.shape[-1]
        proposals = jnp.where(frontier.alive[..., None], proposals, -jnp.inf).reshape(batch, -1)
        log_probs, proposed = jax.lax.top_k(proposals, self.nodes_per_ply(num_actions))
        parents, actions = proposed // num_actions, proposed % num_actions
        expanded = jnp.take_along_axis(frontier.latents, parents[..., None], axis=1)
        latents = model.predict(expanded.reshape(-1, latent_width), actions.reshape(-1)).reshape(expanded.shape)
        costs = model.cost(latents, goal)
        found = Successors(
            latents=latents,
            codes=nonzero_fingerprints(latents, self.fingerprint_bits),
            parents=parents,
            actions=actions,
            is_node=log_probs > -jnp.inf,
            costs=costs,
            goal_differences=model.goal_difference(latents, goal),
            worth=log_probs,
            scores=log_probs - self.cost_weight * costs,
        )
        return found, knowledge
