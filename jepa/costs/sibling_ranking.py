"""Sibling ranking: along a walk, the state before must look nearer to the walk's beginning than other successors do."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jepa.costs.base import CostModule
from jepa.costs.imagination import ImaginedWalks


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiblingRanking:
    """Logistic loss between the move that leads back along a walk and counterfactual moves from the same state.

        mean softplus(cost(z_(t-1), g) - cost(predict(z_t, a), g)),  a drawn among the legal actions

    It asks for the right order among the successors of one state, which is all that a search needs, and says
    nothing about the scale. For domains whose moves can be undone.

    Source: the counterfactual ranking of TextJEPA (two alternatives per state), on imagined walks.
    """

    weight: float = 0.0
    """Factor of the loss; 0 leaves it out of the computation."""
    num_siblings: int = 2
    """Counterfactual moves compared with each move of a walk."""

    def loss(
        self,
        head: CostModule,
        walks: ImaginedWalks,
        indices: Int[Array, "B K"],
        times: Int[Array, "B K"],
        key: Key[Array, ""],
    ) -> Float[Array, ""]:
        """Returns the weighted loss of K states of each of B walks; a state at time 0 has no move to rank."""
        goals = head.embed(walks.goals[indices[:, 0]])[:, None]
        previous = head.embed(walks.latents[indices, jnp.maximum(times - 1, 0)])
        legal = walks.legal_actions[indices, times]
        logits = jnp.where(legal, 0.0, -jnp.inf)[..., None, :]
        actions = jax.random.categorical(key, logits, shape=(*times.shape, self.num_siblings))
        siblings = head.embed(walks.successors[indices[..., None], times[..., None], actions])
        excess = head.distance(previous, goals)[..., None] - head.distance(siblings, goals[:, :, None])
        return self.weight * jnp.mean(jax.nn.softplus(excess), where=(times > 0)[..., None])
