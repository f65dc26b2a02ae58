"""An actor that is a residual multilayer perceptron over latent and goal."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from jepa.actors.base import Actor, ActorModule
from jepa.latents import normalize_slots
from jepa.types import require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualMLPActor(Actor):
    """Latent and goal are added in a hidden layer, then come pre-normalised residual blocks and a linear read-out."""

    hidden_width: int = 512
    """Width of the hidden layer and of the blocks."""
    num_blocks: int = 1
    """Number of residual blocks of two layers."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "hidden_width")

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> ActorModule:
        """See base class."""
        return _ResidualMLPActor(self, latent_width, num_actions, rngs)


class _ResidualMLPActor(ActorModule):
    def __init__(self, config: ResidualMLPActor, latent_width: int, num_actions: int, rngs: nnx.Rngs):
        width = config.hidden_width
        # Inputs are scaled down and weights start large instead: an optimizer of Adam's kind moves every weight by the
        # learning rate, whatever its size, and hundreds of inputs of size one would make that a leap.
        self.input_scale = latent_width**-0.5
        large = nnx.initializers.normal(1.0)
        self.latent = nnx.Linear(latent_width, width, kernel_init=large, rngs=rngs)
        self.goal = nnx.Linear(latent_width, width, kernel_init=large, use_bias=False, rngs=rngs)
        self.blocks = nnx.List([_Block(width, rngs) for _ in range(config.num_blocks)])
        self.output = nnx.Linear(width, num_actions, kernel_init=nnx.initializers.normal(0.01), rngs=rngs)

    def __call__(self, latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B A"]:
        # Each is mapped by itself, so that a goal that many latents share costs next to nothing.
        hidden = self.latent(self.input_scale * latents) + self.goal(self.input_scale * goals)
        for block in self.blocks:
            hidden = block(hidden)
        return self.output(jax.nn.relu(normalize_slots(hidden, 1)))


class _Block(nnx.Module):
    """x + W2 relu(W1 norm(x) + b1) + b2, where the norm is LayerNorm without scale and shift."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        smaller = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")
        self.expand = nnx.Linear(width, width, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.contract = nnx.Linear(width, width, kernel_init=smaller, rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return inputs + self.contract(jax.nn.relu(self.expand(normalize_slots(inputs, 1))))
