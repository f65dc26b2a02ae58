"""What both sides of `online_throughput.py` have in common: sizes, and networks shaped like rejax's."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jepa.actors.base import Actor, ActorModule
from jepa.agents.episodes import Episodes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """A round of a method that learns from the moves of the round alone."""

    length: int
    """Moves of each environment."""
    num_epochs: int
    """How often it goes through them."""
    num_minibatches: int
    """Gradient steps of each time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes that are the same on both sides: those that PPO, PQN and online Q-learning are shipped with."""

    episodes: Episodes = Episodes()
    """Environments side by side, problems, and when an episode ends."""
    width: int = 64
    """Of the two hidden layers of each network."""
    rollouts: dict[str, Rollout] = dataclasses.field(
        default_factory=lambda: {
            "PPO": Rollout(length=16, num_epochs=4, num_minibatches=4),
            "PQN": Rollout(length=32, num_epochs=2, num_minibatches=32),
        }
    )
    """Rounds."""
    dqn_batch_size: int = 512
    """Samples of a gradient step."""
    dqn_steps_per_move_of_all: int = 4
    """Gradient steps for each time that all environments made one move."""
    dqn_walks_kept: int = 4096
    """Walks in the replay buffer."""
    moves_per_call: int = 20_480
    """Moves that one timed call makes, all environments together."""

    @property
    def dqn_moves_kept(self) -> int:
        """Moves in the replay buffer."""
        return self.dqn_walks_kept * self.episodes.episode_length


class Swish(nnx.Module):
    """rejax's activation for PPO and DQN."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        pass

    def __call__(self, inputs: Float[Array, "*B W"]) -> Float[Array, "*B W"]:
        """Returns x sigmoid(x)."""
        return jax.nn.swish(inputs)


class NormalisedRelu(nnx.Module):
    """rejax's activation for PQN."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B W"]) -> Float[Array, "*B W"]:
        """Returns relu(LayerNorm(x)), with scale and shift."""
        return jax.nn.relu(self.norm(inputs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainMLP(Actor):
    """rejax's network: state and goal together through two hidden layers."""

    width: int
    """Of the hidden layers."""
    activation: type[nnx.Module]
    """Behind each of them."""

    def build(self, *, latent_width: int, num_slots: int, num_actions: int, rngs: nnx.Rngs) -> ActorModule:
        """See base class."""
        return _PlainMLP(self, latent_width, num_actions, rngs)


class _PlainMLP(ActorModule):
    def __init__(self, config: PlainMLP, latent_width: int, num_actions: int, rngs: nnx.Rngs):
        width = config.width
        self.first = nnx.Linear(2 * latent_width, width, rngs=rngs)
        self.first_activation = config.activation(width, rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.second_activation = config.activation(width, rngs)
        self.output = nnx.Linear(width, num_actions, rngs=rngs)

    def __call__(self, latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B A"]:
        hidden = self.first_activation(self.first(jnp.concatenate([latents, goals], axis=-1)))
        return self.output(self.second_activation(self.second(hidden)))
