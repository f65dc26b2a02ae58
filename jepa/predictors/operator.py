"""One learned matrix per action: a group that acts on states acts linearly on their embeddings."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.residual_mlp import ResidualBlock
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatorPredictor(Predictor):
    """z' = LayerNorm(h + MLP(h)), h = z M_a + b_a: a D x D matrix per action, corrected by a shared residual MLP."""

    hidden_width: int = 0
    """Hidden width of the residual MLP; 0 leaves the operators alone."""
    use_bias: bool = False
    """Whether each action also adds a vector b_a, for moves that write something which was not there before."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """See base class."""
        return _OperatorPredictor(self, latent_width, num_slots, num_actions, rngs)


class _OperatorPredictor(PredictorModule):
    def __init__(self, config: OperatorPredictor, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs):
        self.num_slots = num_slots
        self.num_actions = num_actions
        # A transposed layout (D, A, D) makes the successors of a batch one matrix product.
        noise = nnx.initializers.normal(latent_width**-0.5)
        self.operators = nnx.Param(noise(rngs.params(), (latent_width, num_actions, latent_width)))
        self.bias = nnx.Param(jnp.zeros((num_actions, latent_width))) if config.use_bias else None
        self.residual = ResidualBlock(latent_width, config.hidden_width, rngs) if config.hidden_width else None

    def all_actions(self, latents: Float[Array, "B D"]) -> Float[Array, "B A D"]:
        width = latents.shape[-1]
        successors = latents @ self.operators[...].reshape(width, -1)
        return self._correct(self._shifted(successors.reshape(-1, self.num_actions, width)))

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        # All products at once and a selection beat gathering a matrix per sample, even on few cores.
        width = latents.shape[-1]
        successors = (latents @ self.operators[...].reshape(width, -1)).reshape(-1, self.num_actions, width)
        return self._correct(jnp.take_along_axis(self._shifted(successors), actions[:, None, None], axis=1)[:, 0])

    def _shifted(self, successors: Float[Array, "B A D"]) -> Float[Array, "B A D"]:
        return successors if self.bias is None else successors + self.bias[...]

    def _correct(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        if self.residual is not None:
            latents = self.residual(latents)
        return normalize_slots(latents, self.num_slots)
