"""A network over both latents together: asymmetric, for moves without a way back and goals that leave much open."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from jepa.costs.base import Cost, CostModule
from jepa.encoders.residual_mlp import ResidualBlock
from jepa.encoders.trunks import NoTrunk, Trunk


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairwiseCost(Cost):
    """cost(z, g) = softplus(MLP(A h(z) + B g)), h a trunk.

    No metric is built in: the cost of a dead end may be large while the way back is short, and a goal is read by a
    matrix of its own, so that open slots (zeros) mean "anything". A pair costs an evaluation of the perceptron, where
    distances of embeddings cost next to nothing: take fewer states of each walk (`CostLearning.states_per_walk`).
    """

    hidden_width: int = 256
    """Width of the hidden layers."""
    num_blocks: int = 1
    """Residual blocks of two layers."""

    trunk: Trunk = NoTrunk()
    """Looks at the slots of a state before the perceptron does, once per state: for what only several of them together
    tell, such as a cell that no digit fits into."""

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> CostModule:
        """See base class."""
        return _PairwiseCost(self, latent_width, num_slots, rngs)


class _PairwiseCost(CostModule):
    is_symmetric = False

    def __init__(self, config: PairwiseCost, latent_width: int, num_slots: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.trunk = config.trunk.build(latent_width=latent_width, num_slots=num_slots, rngs=rngs)
        self.state_input = nnx.Linear(self.trunk.num_groups * self.trunk.width, width, rngs=rngs)
        self.goal_input = nnx.Linear(latent_width, width, use_bias=False, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, 1, rngs=rngs)

    def embed(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        return self.state_input(self.trunk(latents).reshape(*latents.shape[:-1], -1))

    def embed_goal(self, goals: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        return self.goal_input(goals)

    def distance(self, embeddings: Float[Array, "*#B E"], goals: Float[Array, "*#B E"]) -> Float[Array, "*B"]:
        hidden = embeddings + goals
        for block in self.blocks:
            hidden = block(hidden)
        return jax.nn.softplus(self.output(jax.nn.relu(hidden))[..., 0])
