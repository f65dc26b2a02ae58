"""The interface of a cost: how many actions lie between a latent and a goal latent."""

import abc
import dataclasses

from flax import nnx
from jaxtyping import Array, Float


class CostModule(nnx.Module):
    """A cost to go in two steps, so that pairs are cheap: embed every latent once, then compare embeddings."""

    is_symmetric: bool = True
    """Whether goals are embedded as states are, and the distance there is the distance back."""

    def embed(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """Maps latents into the space in which distance is measured."""
        raise NotImplementedError

    def embed_goal(self, goals: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        """Maps goal latents into that space, by default as any other; slots that a goal leaves open are all zeros."""
        return self.embed(goals)

    def distance(self, embeddings: Float[Array, "*#B E"], goals: Float[Array, "*#B E"]) -> Float[Array, "*B"]:
        """Returns the predicted number of actions from one embedding to another; lower is nearer."""
        raise NotImplementedError

    def all_distances(
        self, embeddings: Float[Array, "*B I E"], goals: Float[Array, "*B J E"]
    ) -> Float[Array, "*B I J"]:
        """Returns the distances from each of I embeddings to each of J goals; where they are small it may round."""
        return self.distance(embeddings[..., :, None, :], goals[..., None, :, :])

    def __call__(self, latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B"]:
        """Returns the predicted number of actions from latents to goal latents; lower is nearer."""
        return self.distance(self.embed(latents), self.embed_goal(goals))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost(abc.ABC):
    """Hyper-parameters of a cost head."""

    @abc.abstractmethod
    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> CostModule:
        """Creates the module with fresh parameters."""
