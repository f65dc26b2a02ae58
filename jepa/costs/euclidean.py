"""Distance as a Euclidean norm of learned embeddings: symmetric, for domains whose moves can be undone."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jepa.costs.base import Cost, CostModule
from jepa.encoders.residual_mlp import ResidualBlock


@dataclasses.dataclass(frozen=True, kw_only=True)
class EuclideanCost(Cost):
    """cost(z, g) = |phi(z) - phi(g)|, phi a residual multilayer perceptron."""

    hidden_width: int = 256
    """Width of the hidden layers of phi."""
    num_blocks: int = 1
    """Residual blocks of two layers."""
    embedding_width: int = 64
    """E, the width of phi's output."""

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> CostModule:
        """See base class."""
        return _EuclideanCost(self, latent_width, rngs)


class _EuclideanCost(CostModule):
    def __init__(self, config: EuclideanCost, latent_width: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.input = nnx.Linear(latent_width, width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, config.embedding_width, rngs=rngs)

    def embed(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        hidden = self.input(latents)
        for block in self.blocks:
            hidden = block(hidden)
        return self.output(jax.nn.relu(hidden))

    def distance(self, embeddings: Float[Array, "*#B E"], goals: Float[Array, "*#B E"]) -> Float[Array, "*B"]:
        # The small constant keeps the gradient of the root finite at distance zero.
        return jnp.sqrt(jnp.sum((embeddings - goals) ** 2, axis=-1) + 1e-6)

    def all_distances(
        self, embeddings: Float[Array, "*B I E"], goals: Float[Array, "*B J E"]
    ) -> Float[Array, "*B I J"]:
        # One matrix product instead of I x J differences; what it rounds to nothing is 0, and has no gradient.
        squared = (embeddings**2).sum(axis=-1)[..., :, None] + (goals**2).sum(axis=-1)[..., None, :]
        squared = squared - 2 * embeddings @ goals.swapaxes(-1, -2)
        is_apart = squared > 1e-6
        return jnp.where(is_apart, jnp.sqrt(jnp.where(is_apart, squared, 1.0)), 0.0)
