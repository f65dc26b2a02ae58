"""A distance that obeys the triangle inequality but need not be symmetric: the way back may be longer, or closed."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jepa.costs.base import Cost, CostModule
from jepa.encoders.residual_mlp import ResidualBlock
from jepa.types import require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuasimetricCost(Cost):
    """cost(z, g) = mean over K parts of |f_k(z) - f_k(g)| + max_i relu(h_ki(z) - h_ki(g)).

    A metric and an asymmetric residual. One network embeds states and goals, so goals must be full states.

    Source: metric residual networks (Liu et al., 2023).
    """

    hidden_width: int = 512
    """Width of the hidden layers."""
    num_blocks: int = 1
    """Residual blocks of two layers."""
    num_parts: int = 8
    """K, parts of the embedding, each a distance."""
    part_width: int = 16
    """Numbers of each part, half of them for the metric and half for the residual."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "hidden_width", "num_parts", "part_width")
        if self.part_width % 2:
            raise ValueError(f"QuasimetricCost.part_width must be even, one half each; got {self.part_width}")

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> CostModule:
        """See base class."""
        return _QuasimetricCost(self, latent_width, rngs)


class _QuasimetricCost(CostModule):
    is_symmetric = False

    def __init__(self, config: QuasimetricCost, latent_width: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.num_parts = config.num_parts
        self.input = nnx.Linear(latent_width, width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, config.num_parts * config.part_width, rngs=rngs)

    def embed(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        hidden = self.input(latents)
        for block in self.blocks:
            hidden = block(hidden)
        return self.output(jax.nn.relu(hidden))

    def distance(self, embeddings: Float[Array, "*#B E"], goals: Float[Array, "*#B E"]) -> Float[Array, "*B"]:
        differences = embeddings - goals
        parts = differences.reshape(*differences.shape[:-1], self.num_parts, 2, -1)
        metric = jnp.sqrt(jnp.sum(parts[..., 0, :] ** 2, axis=-1) + 1e-6)
        return (metric + jax.nn.relu(parts[..., 1, :]).max(axis=-1)).mean(axis=-1)
