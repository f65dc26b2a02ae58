"""Re-identification: move a predicted latent onto one that some state really has.

Small errors of a predictor add up along a plan, and a search looks for them: it is drawn to latents that seem near
the goal and belong to no state. A latent that is moved onto a valid one after every prediction cannot drift; it is
either exactly right or exactly another state.
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from jepa.encoders.base import EncoderModule


class ReidentifierModule(nnx.Module):
    """Predicted latents to latents of states."""

    def __call__(self, latents: Float[Array, "*B D"], encoder: EncoderModule) -> Float[Array, "*B D"]:
        """Returns the latents of the states that the predicted latents are taken for."""
        raise NotImplementedError

    def loss(self, latents: Float[Array, "B D"], tokens: Int[Array, "B N"]) -> Float[Array, ""]:
        """Returns what the module itself is trained for, on stop-gradient latents of recorded states."""
        return jnp.zeros(())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reidentification(abc.ABC):
    """Hyper-parameters of re-identification."""

    @abc.abstractmethod
    def build(self, *, encoder: EncoderModule, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> ReidentifierModule:
        """Creates the module with fresh parameters.

        Raises:
          ValueError: the encoder does not offer what this way of re-identification needs.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoReidentification(Reidentification):
    """Leaves predicted latents as they are: enough where the predictor hardly errs."""

    def build(self, *, encoder: EncoderModule, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> ReidentifierModule:
        """See base class."""
        return _Identity()


class _Identity(ReidentifierModule):
    def __call__(self, latents: Float[Array, "*B D"], encoder: EncoderModule) -> Float[Array, "*B D"]:
        return latents


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearestCode(Reidentification):
    """Moves every slot to the nearest latent that the encoder has for any token; needs no training.

    Source: vector quantisation (van den Oord et al., 2017, equation 2), with the encoder's own token embeddings as
    the code book and nothing learned about it.
    """

    def build(self, *, encoder: EncoderModule, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> ReidentifierModule:
        """See base class."""
        if encoder.slot_codes() is None:
            raise ValueError(
                "NearestCode needs an encoder that keeps one unmixed slot per token, such as TokenSlotsEncoder with "
                f"num_blocks=0; got {type(encoder).__name__}. Use NoReidentification or ReencodedReadout"
            )
        return _NearestCode()


class _NearestCode(ReidentifierModule):
    def __call__(self, latents: Float[Array, "*B D"], encoder: EncoderModule) -> Float[Array, "*B D"]:
        codes = encoder.slot_codes()
        slots = latents.reshape(*latents.shape[:-1], encoder.num_slots, -1)
        # Codes have equal norms, so the nearest one is the one with the largest inner product.
        nearest = jax.nn.one_hot(jnp.argmax(slots @ codes.T, axis=-1), codes.shape[0], dtype=latents.dtype)
        return (nearest @ codes).reshape(latents.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReencodedReadout(Reidentification):
    """Reads the tokens off a latent by a linear map, takes the likeliest ones and encodes them again.

    The read-out is a probe: it is trained beside the world model, and no gradient of it reaches the encoder.
    """

    def build(self, *, encoder: EncoderModule, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> ReidentifierModule:
        """See base class."""
        return _ReencodedReadout(encoder.latent_width, num_tokens, vocab_size, rngs)


class _ReencodedReadout(ReidentifierModule):
    def __init__(self, latent_width: int, num_tokens: int, vocab_size: int, rngs: nnx.Rngs):
        self.num_tokens = num_tokens
        self.readout = nnx.Linear(latent_width, num_tokens * vocab_size, rngs=rngs)

    def _logits(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B N V"]:
        return self.readout(latents).reshape(*latents.shape[:-1], self.num_tokens, -1)

    def __call__(self, latents: Float[Array, "*B D"], encoder: EncoderModule) -> Float[Array, "*B D"]:
        return encoder(jnp.argmax(self._logits(latents), axis=-1))

    def loss(self, latents: Float[Array, "B D"], tokens: Int[Array, "B N"]) -> Float[Array, ""]:
        return optax.softmax_cross_entropy_with_integer_labels(self._logits(latents), tokens).mean()
