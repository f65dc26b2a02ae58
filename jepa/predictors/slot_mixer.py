"""A dense layer that mixes all slots, then a perceptron per slot, then all actions at once: the fastest slot predictor.

Attention asks at run time which slots matter. Where the slots are few and their places fixed, one dense layer from
all slots to all slots learns the same routing once, as large matrix products; and reading off the successors of all
actions from one hidden vector spares a search running the network once per action.
"""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.residual_mlp import ResidualBlock
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlotMixerPredictor(Predictor):
    """z'_(a, s) = LayerNorm(z_s + W_a MLP(M z)_s), M dense over all slots, the rest shared by the slots."""

    width: int = 64
    """Hidden width of each slot."""
    num_blocks: int = 1
    """Residual blocks of two layers on each slot."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """See base class."""
        return _SlotMixerPredictor(self, latent_width, num_slots, num_actions, rngs)


class _SlotMixerPredictor(PredictorModule):
    def __init__(self, config: SlotMixerPredictor, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs):
        width = config.width
        self.num_slots = num_slots
        self.num_actions = num_actions
        self.mixer = nnx.Linear(latent_width, num_slots * width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, 2 * width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, num_actions * (latent_width // num_slots), rngs=rngs)

    def all_actions(self, latents: Float[Array, "B D"]) -> Float[Array, "B A D"]:
        batch, width = latents.shape
        changes = self._changes(latents).swapaxes(1, 2).reshape(batch, self.num_actions, width)
        return normalize_slots(latents[:, None] + changes, self.num_slots)

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        # A product with the action's code instead of a gather: its gradient is a product too, not a scatter.
        codes = jax.nn.one_hot(actions, self.num_actions, dtype=latents.dtype)
        changes = (self._changes(latents) * codes[:, None, :, None]).sum(axis=2)
        return normalize_slots(latents + changes.reshape(latents.shape), self.num_slots)

    def _changes(self, latents: Float[Array, "B D"]) -> Float[Array, "B S A D_slot"]:
        hidden = self.mixer(latents).reshape(latents.shape[0], self.num_slots, -1)
        for block in self.blocks:
            hidden = block(hidden)
        changes = self.output(jax.nn.relu(hidden))
        return changes.reshape(*changes.shape[:-1], self.num_actions, -1)
