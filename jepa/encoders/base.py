"""The interface of an encoder: a config that builds a module from the sizes of a domain."""

import abc
import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int


class EncoderModule(nnx.Module):
    """Observation tokens to latents; subclasses set the two sizes and define `__call__`."""

    num_slots: int
    """S; each slot of a latent is normalised on its own. A flat latent has one."""
    latent_width: int
    """D, all slots together."""

    def __call__(self, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
        """Embeds states; every slot has mean 0 and variance 1."""
        raise NotImplementedError

    def slot_codes(self) -> Float[Array, "V D_slot"] | None:
        """Returns the finite set of latents that every slot is drawn from, or None where there is no such set."""
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder(abc.ABC):
    """Hyper-parameters of an encoder."""

    @abc.abstractmethod
    def build(self, *, num_tokens: int, vocab_size: int, rngs: nnx.Rngs) -> EncoderModule:
        """Creates the module with fresh parameters."""


def one_hot_flat(tokens: Int[Array, "*B N"], vocab_size: int) -> Float[Array, "*B N_times_V"]:
    """Concatenates the one-hot codes of all tokens."""
    codes = jax.nn.one_hot(tokens, vocab_size, dtype=jnp.float32)
    return codes.reshape(*tokens.shape[:-1], -1)
