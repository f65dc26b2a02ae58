"""Beam search over predicted latents, for a batch of problems in one compiled loop.

Every ply predicts the latents after all legal actions of the W kept nodes, drops those that look like a latent seen
before, and keeps the W of lowest predicted cost.
"""

import dataclasses

import jax.numpy as jnp

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.planners.expansion import expand
from jepa.planners.frontier import Frontier, FrontierSearch, Successors
from jepa.planners.inverses import Inverses, nothing_known


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
        """See base class: those after all legal actions."""
        batch, width, latent_width = frontier.latents.shape
        legal = model.legal_actions(frontier.latents.reshape(-1, latent_width)).reshape(batch, width, -1)
        legal &= frontier.alive[:, :, None]
        if self.skip_inverses:
            legal &= ~knowledge.undoing(frontier.last_actions)
        expansion = expand(model, goal, frontier.latents, legal, self.fingerprint_bits)
        if self.skip_inverses:
            leads_back = expansion.codes.reshape(legal.shape) == frontier.before[..., None]
            knowledge = knowledge.after(frontier.last_actions, leads_back, legal)
        num_actions = legal.shape[-1]
        pairs = jnp.broadcast_to(jnp.arange(width * num_actions), expansion.codes.shape)
        found = Successors(
            latents=expansion.latents,
            codes=expansion.codes,
            parents=pairs // num_actions,
            actions=pairs % num_actions,
            is_node=legal.reshape(batch, -1),
            costs=expansion.costs,
            goal_differences=expansion.goal_differences,
            worth=jnp.zeros_like(expansion.costs),
            scores=-expansion.costs,
        )
        return found, knowledge
