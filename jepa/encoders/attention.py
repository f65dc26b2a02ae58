"""The attention block that slot encoders and slot predictors share."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class AttentionBlock(nnx.Module):
    """Pre-norm multi-head self-attention over slots, then a pre-norm two-layer perceptron, both residual.

    The slots are few (9 on an 8-puzzle): the cost lies in the projections, which run as single large matrix
    products over batch and slots together.
    """

    def __init__(self, width: int, num_heads: int, rngs: nnx.Rngs, expansion: int = 2):
        if width % num_heads:
            raise ValueError(f"the attention width must be a multiple of num_heads; got {width} and {num_heads}")
        self.num_heads = num_heads
        self.norm_attention = nnx.LayerNorm(width, rngs=rngs)
        self.norm_hidden = nnx.LayerNorm(width, rngs=rngs)
        self.query_key_value = nnx.Linear(width, 3 * width, rngs=rngs)
        self.mix = nnx.Linear(width, width, rngs=rngs)
        self.expand = nnx.Linear(width, expansion * width, rngs=rngs)
        self.contract = nnx.Linear(expansion * width, width, rngs=rngs)

    def __call__(self, slots: Float[Array, "*B S D"]) -> Float[Array, "*B S D"]:
        """Mixes slots; shape and order are kept."""
        heads = (*slots.shape[:-1], self.num_heads, -1)
        projected = self.query_key_value(self.norm_attention(slots))
        query, key, value = (part.reshape(heads) for part in jnp.split(projected, 3, axis=-1))
        scores = jnp.einsum("...qhd,...khd->...hqk", query, key) * query.shape[-1] ** -0.5
        mixed = jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores), value)
        slots = slots + self.mix(mixed.reshape(slots.shape))
        return slots + self.contract(jax.nn.relu(self.expand(self.norm_hidden(slots))))
