"""A linear map of one-hot tokens: enough where each action permutes the tokens."""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.base import Encoder, EncoderModule, one_hot_flat
from jepa.latents import normalize_slots


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearEncoder(Encoder):
    """z = LayerNorm(W onehot(tokens)).

    If actions permute tokens, as on a cube, the next one-hot vector is linear in the present one; a linear
    encoding with D at least the rank of the one-hot codes then admits exact linear operators in latent space.
    """

    latent_width: int = 128
    """D, the width of the flat latent."""

    def build(self, *, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> EncoderModule:
        """See base class."""
        return _LinearEncoder(self, num_tokens, vocab_size, rngs)


class _LinearEncoder(EncoderModule):
    def __init__(self, config: LinearEncoder, num_tokens: int, vocab_size: int, rngs: nnx.Rngs):
        self.num_slots = 1
        self.latent_width = config.latent_width
        self.vocab_size = vocab_size
        self.linear = nnx.Linear(num_tokens * vocab_size, config.latent_width, rngs=rngs)

    def __call__(self, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
        return normalize_slots(self.linear(one_hot_flat(tokens, self.vocab_size)), 1)
