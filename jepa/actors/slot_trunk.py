"""An actor that looks at state and goal slot by slot: for actions that must be looked up among many places."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jepa.actors.base import Actor, ActorModule
from jepa.encoders.trunks import AttentionTrunk, Trunk, TrunkModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrunkActor(Actor):
    """A trunk over slots that are those of state and goal side by side, and a linear read-out of all its features.

    What is learned about one slot holds at all of them, so it has far fewer parameters than a perceptron where there
    are many slots; every pair of state and goal costs a pass of the trunk.
    """

    trunk: Trunk = AttentionTrunk()
    """What looks at several slots at once."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> ActorModule:
        """See base class.

        Raises:
          ValueError: the trunk was made for slots of another shape.
        """
        trunk = self.trunk.build(latent_width=2 * latent_width, num_slots=num_slots, rngs=rngs)
        return _TrunkActor(trunk, num_slots, num_actions, rngs)


class _TrunkActor(ActorModule):
    def __init__(self, trunk: TrunkModule, num_slots: int, num_actions: int, rngs: nnx.Rngs):
        self.num_slots, self.trunk = num_slots, trunk
        self.hidden = nnx.Linear(trunk.width, trunk.width, rngs=rngs)
        small = nnx.initializers.normal(0.01)
        self.output = nnx.Linear(trunk.num_groups * trunk.width, num_actions, kernel_init=small, rngs=rngs)

    def __call__(self, latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B A"]:
        both = [x.reshape(*x.shape[:-1], self.num_slots, -1) for x in jnp.broadcast_arrays(latents, goals)]
        slots = jnp.concatenate(both, axis=-1)
        features = self.trunk(slots.reshape(*slots.shape[:-2], -1))
        hidden = jax.nn.relu(self.hidden(features))
        return self.output(hidden.reshape(*hidden.shape[:-2], -1))
