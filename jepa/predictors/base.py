"""The interface of a predictor: the latent after an action, for one action or for all of them."""

import abc
import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int


class PredictorModule(nnx.Module):
    """A latent and an action to the next latent; subclasses define `__call__` and may speed up `all_actions`."""

    num_actions: int
    """A."""

    @property
    def shares_actions(self) -> bool:
        """Whether `all_actions` is faster than as many predictions of one action each."""
        return type(self).all_actions is not PredictorModule.all_actions

    def __call__(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        """Predicts the latents after one action each; every slot has mean 0 and variance 1."""
        raise NotImplementedError

    def all_actions(self, latents: Float[Array, "B D"]) -> Float[Array, "B A D"]:
        """Predicts the latents after every action, which is what a search needs."""
        batch, width = latents.shape
        repeated = jnp.repeat(latents, self.num_actions, axis=0)
        actions = jnp.tile(jnp.arange(self.num_actions), batch)
        return self(repeated, actions).reshape(batch, self.num_actions, width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor(abc.ABC):
    """Hyper-parameters of a predictor."""

    @abc.abstractmethod
    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> PredictorModule:
        """Creates the module with fresh parameters."""
