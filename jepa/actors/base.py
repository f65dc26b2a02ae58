"""The interface of an actor: a distribution over actions, given a latent and a goal latent."""

import abc
import dataclasses

from flax import nnx
from jaxtyping import Array, Float


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
