"""Beam search over predicted latents, for a batch of problems in one compiled loop.

Every ply predicts the latents after all actions of the W kept nodes, drops those that look like a latent seen
before, and keeps the W of lowest predicted cost.
"""

import dataclasses

import jax.numpy as jnp

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.planners.frontier import Frontier, FrontierSearch, Successors
from jepa.planners.inverses import Inverses, nothing_known
from jepa.planners.memory import nonzero_fingerprints


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSearch(FrontierSearch):
    """Breadth-limited search that is led by the predicted cost; returns the first plan that claims the goal."""

    skip_inverses: bool = False
    """Whether actions that have always led back to the node before are no longer tried (see `inverses`)."""

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.width * num_actions

    def initial_knowledge(self, num_problems: int, num_actions: int) -> Inverses:
        """See base class: which action undoes which, as far as it has been noticed."""
        return nothing_known(num_problems, num_actions)

    def successors(
        self, model: PlanningModel, goal: GoalLatents, frontier: Frontier, knowledge: Inverses
    ) -> tuple[Successors, Inverses]:
        """See base class: those after all actions."""
        batch, width, latent_width = frontier.latents.shape
        flat = frontier.latents.reshape(-1, latent_width)
        successors = model.predict_all(flat)
        num_actions = successors.shape[1]
        successors = successors.reshape(batch, width * num_actions, latent_width)
        legal = model.legal_actions(flat).reshape(batch, width, num_actions) & frontier.alive[:, :, None]
        costs = model.cost(successors, goal)
        codes = nonzero_fingerprints(successors, self.fingerprint_bits)
        if self.skip_inverses:
            legal &= ~knowledge.undoing(frontier.last_actions)
            leads_back = codes.reshape(legal.shape) == frontier.before[..., None]
            knowledge = knowledge.after(frontier.last_actions, leads_back, legal)
        pairs = jnp.arange(width * num_actions)
        found = Successors(
            latents=successors,
            codes=codes,
            parents=jnp.broadcast_to(pairs // num_actions, codes.shape),
            actions=jnp.broadcast_to(pairs % num_actions, codes.shape),
            is_node=legal.reshape(batch, -1),
            costs=costs,
            worth=jnp.zeros_like(costs),
            scores=-costs,
        )
        return found, knowledge
