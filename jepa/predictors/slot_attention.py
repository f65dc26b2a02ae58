"""Attention over slots with the action added to each: for moves whose effect depends on the state."""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.attention import AttentionBlock
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionPredictor(Predictor):
    """z'_s = LayerNorm(z_s + read-out of attention over all slots, positions and the action)."""

    width: int = 64
    """Width of the attention blocks."""
    num_blocks: int = 2
    """Number of attention blocks."""
    num_heads: int = 4
    """Attention heads of each block."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """See base class."""
        return _AttentionPredictor(self, latent_width, num_slots, num_actions, rngs)


class _AttentionPredictor(PredictorModule):
    def __init__(self, config: AttentionPredictor, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs):
        slot_width = latent_width // num_slots
        self.num_slots = num_slots
        self.num_actions = num_actions
        self.input = nnx.Linear(slot_width, config.width, rngs=rngs)
        self.action_embedding = nnx.Embed(num_actions, config.width, rngs=rngs)
        self.positions = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (num_slots, config.width)))
        self.blocks = nnx.List([AttentionBlock(config.width, config.num_heads, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(config.width, slot_width, rngs=rngs)

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        slots = latents.reshape(latents.shape[0], self.num_slots, -1)
        hidden = self.input(slots) + self.positions[...] + self.action_embedding(actions)[:, None]
        for block in self.blocks:
            hidden = block(hidden)
        return normalize_slots(latents + self.output(hidden).reshape(latents.shape), self.num_slots)
