"""A residual multilayer perceptron over the latent and the action's code: the plain baseline predictor."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.residual_mlp import ResidualBlock
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLPPredictor(Predictor):
    """z' = LayerNorm(z + MLP([z, onehot(a)]))."""

    hidden_width: int = 512
    """Width of the hidden layers."""
    num_blocks: int = 1
    """Residual blocks of two layers between the input and the output layer."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """See base class."""
        return _MLPPredictor(self, latent_width, num_slots, num_actions, rngs)


class _MLPPredictor(PredictorModule):
    def __init__(self, config: MLPPredictor, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs):
        width = config.hidden_width
        self.num_slots = num_slots
        self.num_actions = num_actions
        self.input = nnx.Linear(latent_width + num_actions, width, rngs=rngs)
        self.blocks = nnx.List([ResidualBlock(width, width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, latent_width, rngs=rngs)

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        codes = jax.nn.one_hot(actions, self.num_actions, dtype=latents.dtype)
        hidden = self.input(jnp.concatenate([latents, codes], axis=-1))
        for block in self.blocks:
            hidden = block(hidden)
        return normalize_slots(latents + self.output(jax.nn.relu(hidden)), self.num_slots)
