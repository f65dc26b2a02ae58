"""Replay: the newest samples of a kind, and learners that draw from them for as long as it takes."""

import abc
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.episodes import EpisodeState, Step
from jepa.agents.online import OnlineLearner, OnlineStage
from jepa.training import TrainState
from jepa.types import pytree, require_positive


@pytree
class Replay:
    """Samples in a ring, the oldest overwritten."""

    samples: Any
    """A pytree whose leaves have M places on the leading axis."""
    count: Int[Array, ""]
    """Samples ever kept."""

    @property
    def capacity(self) -> int:
        """M, samples that there is room for."""
        return len(jax.tree.leaves(self.samples)[0])

    @property
    def num_samples(self) -> Int[Array, ""]:
        """Places that are taken."""
        return jnp.minimum(self.count, self.capacity)

    def keep(self, samples: Any, wanted: Bool[Array, " S"]) -> "Replay":
        """Returns the memory with those of S <= M samples that are wanted in place of the oldest."""
        order = jnp.cumsum(wanted) - 1
        places = jnp.where(wanted, (self.count + order) % self.capacity, self.capacity)
        kept = jax.tree.map(lambda old, new: old.at[places].set(new, mode="drop"), self.samples, samples)
        return Replay(samples=kept, count=self.count + wanted.sum())

    def draw(self, shape: tuple[int, ...], key: Key[Array, ""]) -> Int[Array, "..."]:
        """Returns places that are taken, each as likely as any other; the first as long as none is."""
        return jax.random.randint(key, shape, 0, jnp.maximum(self.num_samples, 1))

    def at(self, places: Int[Array, " B"]) -> Any:
        """Returns the samples of some places."""
        return jax.tree.map(lambda leaf: leaf[places], self.samples)


def empty_replay(example: Any, capacity: int) -> Replay:
    """Returns a memory with room for samples like one, given as arrays or as their shapes and types."""
    samples = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), example)
    return Replay(samples=samples, count=jnp.zeros((), jnp.int32))


@pytree
class Practice:
    """What is kept of episodes that go on from round to round."""

    episodes: EpisodeState
    """Where they stand."""
    replay: Replay
    """Their newest moves."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayAgent(OnlineLearner):
    """A baseline that keeps what it has seen, and so may learn from it for as long as it takes."""

    steps_per_round: int = 64
    """Gradient steps of a round, at least: where few rounds fit into the moves, each has as many more as bring the
    samples of the whole training to those of its `training`."""
    samples_per_step: int = 512
    """Moves in each."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "steps_per_round", "samples_per_step")

    @property
    def gradient_steps(self) -> int:
        """See base class."""
        return self.steps_per_round

    @property
    def samples_per_round(self) -> int:
        """See base class."""
        return self.steps_per_round * self.samples_per_step

    def with_rounds(self, num_rounds: int) -> "ReplayAgent":
        """See base class."""
        samples = self.training.num_updates * self.training.batch_size
        steps = max(self.steps_per_round, math.ceil(samples / (num_rounds * self.samples_per_step)))
        return super(ReplayAgent, dataclasses.replace(self, steps_per_round=steps)).with_rounds(num_rounds)

    def check_capacity(self, capacity: int, num_samples: int) -> None:
        """Raises ValueError if a memory has no room for what a round adds."""
        if capacity < num_samples:
            name = f"{type(self).__name__}.num_kept"
            raise ValueError(f"{name} must hold the {num_samples} moves of a round; got {capacity}")


class ReplayStage(OnlineStage):
    """One update plays, keeps, and learns from what is kept; subclasses say how they play and for which loss."""

    @abc.abstractmethod
    def loss(self, params: Any, samples: Any) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Returns the loss on samples, and figures to log."""

    def learn(
        self, state: TrainState, replay: Replay, target: Any, key: Key[Array, ""]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """Takes the gradient steps of a round; as long as nothing is kept, they change nothing but for weight decay.

        Args:
          state: as it was before the round.
          replay: what is learned from.
          target: what the learner keeps beside its parameters.
          key: for the samples that are drawn.

        Returns:
          The state after the round, and means of the figures.
        """
        places = replay.draw((self.config.steps_per_round, self.config.samples_per_step), key)

        def loss(params, _, places):
            value, figures = self.loss(params, replay.at(places))
            return jnp.where(replay.count > 0, value, 0.0), figures

        params, _, opt_state, figures = self.descend(state, loss, places)
        return TrainState(params=params, target=target, opt_state=opt_state, num_updates=state.num_updates + 1), figures

    def learn_from_practice(
        self, state: TrainState, episodes: EpisodeState, steps: Step, samples: Any, key: Key[Array, ""]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """Keeps the samples of a round, with leading axes of T and B, and learns; what is kept is a `Practice`."""
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), samples)
        replay = state.target.replay.keep(samples, jnp.ones(steps.solved.size, bool))
        updated, figures = self.learn(state, replay, Practice(episodes=episodes, replay=replay), key)
        return updated, figures | {"solved_episodes": steps.solved.sum() / jnp.maximum(steps.ended.sum(), 1)}
