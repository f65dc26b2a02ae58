"""One latent per token: the encoding under which a predictor can be exact."""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.attention import AttentionBlock
from jepa.encoders.base import Encoder, EncoderModule
from jepa.latents import normalize_slots


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSlotsEncoder(Encoder):
    """Each token's embedding becomes a slot of the latent, mixed by attention blocks if there are any.

    Without mixing (the default) a slot can take only `vocab_size` values, which the encoder knows: predicted
    latents can then be re-identified, slot by slot, as the nearest of them (`NearestCode`).
    """

    slot_width: int = 16
    """Width of one slot; D is the number of tokens times this."""
    num_blocks: int = 0
    """Attention blocks that mix the slots; 0 keeps slots independent and re-identification exact."""
    num_heads: int = 2
    """Attention heads of each block."""

    def build(self, *, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> EncoderModule:
        """See base class."""
        return _TokenSlotsEncoder(self, num_tokens, vocab_size, rngs)


class _TokenSlotsEncoder(EncoderModule):
    def __init__(self, config: TokenSlotsEncoder, num_tokens: int, vocab_size: int, rngs: nnx.Rngs):
        width = config.slot_width
        self.num_slots = num_tokens
        self.latent_width = num_tokens * width
        self.embedding = nnx.Embed(vocab_size, width, rngs=rngs)
        self.blocks = nnx.List([AttentionBlock(width, config.num_heads, rngs) for _ in range(config.num_blocks)])
        if config.num_blocks:
            self.positions = nnx.Param(0.1 * nnx.initializers.normal(1.0)(rngs.params(), (num_tokens, width)))

    def __call__(self, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
        slots = self.embedding(tokens)
        if self.blocks:
            slots = slots + self.positions[...]
            for block in self.blocks:
                slots = block(slots)
        return normalize_slots(slots.reshape(*tokens.shape[:-1], -1), self.num_slots)

    def slot_codes(self) -> Float[Array, "V D_slot"] | None:
        return None if self.blocks else normalize_slots(self.embedding.embedding[...], 1)
