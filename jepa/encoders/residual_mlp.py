"""A residual multilayer perceptron over one-hot tokens: the general flat encoder."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.base import Encoder, EncoderModule, one_hot_flat
from jepa.latents import normalize_slots


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualMLPEncoder(Encoder):
    """One-hot tokens, a hidden layer, pre-activation residual blocks, a linear read-out, LayerNorm."""

    latent_width: int = 128
    """D, the width of the flat latent."""
    hidden_width: int = 256
    """Width of the hidden layer and of the blocks."""
    num_blocks: int = 1
    """Number of residual blocks of two layers."""

    def build(self, *, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> EncoderModule:
        """See base class."""
        return _ResidualMLPEncoder(self, num_tokens, vocab_size, rngs)


class _ResidualMLPEncoder(EncoderModule):
    def __init__(self, config: ResidualMLPEncoder, num_tokens: int, vocab_size: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.num_slots = 1
        self.latent_width = config.latent_width
        self.vocab_size = vocab_size
        self.input = nnx.Linear(num_tokens * vocab_size, width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, config.latent_width, rngs=rngs)

    def __call__(self, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
        hidden = self.input(one_hot_flat(tokens, self.vocab_size))
        for block in self.blocks:
            hidden = block(hidden)
        return normalize_slots(self.output(jax.nn.relu(hidden)), 1)


class ResidualBlock(nnx.Module):
    """x + W2 relu(W1 relu(x) + b1) + b2, started as the identity (W2 = 0)."""

    def __init__(self, width: int, hidden_width: int, rngs: nnx.Rngs):
        self.expand = nnx.Linear(width, hidden_width, rngs=rngs)
        self.contract = nnx.Linear(hidden_width, width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """Maps vectors to vectors of the same width."""
        return inputs + self.contract(jax.nn.relu(self.expand(jax.nn.relu(inputs))))
