"""The interface of an actor: a distribution over actions, given a latent and a goal latent."""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


class ActorModule(nnx.Module):
    """Proposes actions; a search predicts only what follows the best proposals."""

    def __call__(self, latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B A"]:
        """Returns logits of the actions, legal or not; slots that a goal leaves open are all zeros."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Actor(abc.ABC):
    """Hyper-parameters of an actor."""

    @abc.abstractmethod
    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> ActorModule:
        """Creates the module with fresh parameters."""


def log_proposals(logits: Float[Array, "*B A"], legal: Bool[Array, "*B A"]) -> Float[Array, "*B A"]:
    """Returns the logarithms of the proposals' probabilities among legal actions; minus infinity for others."""
    return jnp.where(legal, jax.nn.log_softmax(jnp.where(legal, logits, -1e9), axis=-1), -jnp.inf)


def proposals(
    actor: Callable[[Float[Array, "B C 1 D"], Float[Array, "B 1 K D"]], Float[Array, "B C K A"]],
    latents: Float[Array, "B C D"],
    goals: Float[Array, "B K D"],
    legal: Bool[Array, "B C A"],
) -> Float[Array, "B C A"]:
    """Returns what an actor proposes towards a goal of which K alternatives are given: the mean of its probabilities.

    As logarithms, minus infinity where an action is not legal.
    """
    log_probs = log_proposals(actor(latents[:, :, None], goals[:, None]), legal[:, :, None])
    return jax.nn.logsumexp(log_probs, axis=2) - jnp.log(goals.shape[1])
