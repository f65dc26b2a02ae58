"""Which actions are legal, read from the latent: a planner has no environment to ask."""

import abc
import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from jepa.encoders.trunks import AttentionTrunk, Trunk, TrunkModule


class LegalityModule(nnx.Module):
    """Latents to one logit per action; an action counts as legal where the logit is positive."""

    def __call__(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B A"]:
        """Returns logits."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Legality(abc.ABC):
    """Hyper-parameters of reading legality; trained on the recorded masks of legal actions, on frozen latents."""

    @abc.abstractmethod
    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> LegalityModule:
        """Creates the module with fresh parameters.

        Raises:
          ValueError: the slots do not have the shape that this way of reading was made for.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class LegalityHead(Legality):
    """A small perceptron: enough where legality is a matter of what stands where."""

    hidden_width: int = 32
    """Hidden width."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> LegalityModule:
        """See base class."""
        return _LegalityHead(self, latent_width, num_actions, rngs)


class _LegalityHead(LegalityModule):
    def __init__(self, config: LegalityHead, latent_width: int, num_actions: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(latent_width, config.hidden_width, rngs=rngs)
        self.output = nnx.Linear(config.hidden_width, num_actions, rngs=rngs)

    def __call__(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B A"]:
        return self.output(jax.nn.relu(self.hidden(latents)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkLegality(Legality):
    """A trunk over slots, and a linear read-out of all of them for each action.

    For legality that must be looked up, as in "both parents of this quantity are known", or that is the same at all
    places, as in "nothing stands in the way".
    """

    trunk: Trunk = AttentionTrunk(num_blocks=1)
    """What looks at several slots at once."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> LegalityModule:
        """See base class."""
        trunk = self.trunk.build(latent_width=latent_width, num_slots=num_slots, rngs=rngs)
        return _TrunkLegality(trunk, num_actions, rngs)


class _TrunkLegality(LegalityModule):
    def __init__(self, trunk: TrunkModule, num_actions: int, rngs: nnx.Rngs):
        self.trunk = trunk
        self.hidden = nnx.Linear(trunk.width, trunk.width, rngs=rngs)
        self.output = nnx.Linear(trunk.num_groups * trunk.width, num_actions, rngs=rngs)

    def __call__(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B A"]:
        features = jax.nn.relu(self.hidden(self.trunk(latents)))
        return self.output(features.reshape(*latents.shape[:-1], -1))
