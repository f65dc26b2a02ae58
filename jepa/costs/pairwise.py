"""A network over both latents together: asymmetric, for moves without a way back and goals that leave much open."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from jepa.costs.base import Cost, CostModule
from jepa.encoders.residual_mlp import ResidualBlock


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairwiseCost(Cost):
    """cost(z, g) = softplus(MLP(A z + B g)).

    No metric is built in: the cost of a dead end may be large while the way back is short, and a goal is read by a
    matrix of its own, so that open slots (zeros) mean "anything". A pair costs an evaluation of the perceptron, where
    distances of embeddings cost next to nothing: take fewer states of each walk (`CostLearning.states_per_walk`).
    """

    hidden_width: int = 256
    """Width of the hidden layers."""
    num_blocks: int = 1
    """Residual blocks of two layers."""

    def build(self, *, latent_width: int, rngs: nnx.Rngs) -> CostModule:
        """See base class."""
        return _PairwiseCost(self, latent_width, rngs)


class _PairwiseCost(CostModule):
    is_symmetric = False

    def __init__(self, config: PairwiseCost, latent_width: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.state_input = nnx.Linear(latent_width, width, rngs=rngs)
        self.goal_input = nnx.Linear(latent_width, width, use_bias=False, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, 1, rngs=rngs)

    def embed(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        return self.state_input(latents)

    def embed_goal(self, goals: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        return self.goal_input(goals)

    def distance(self, embeddings: Float[Array, "*#B E"], goals: Float[Array, "*#B E"]) -> Float[Array, "*B"]:
        hidden = embeddings + goals
        for block in self.blocks:
            hidden = block(hidden)
        return jax.nn.softplus(self.output(jax.nn.relu(hidden))[..., 0])
