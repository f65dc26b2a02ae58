"""What online baselines share that learn from the moves of a round alone, a few times over, in shuffled minibatches."""

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
from jepa.types import require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class RolloutAgent(OnlineLearner):
    """A baseline that forgets the moves of a round after it."""

    rollout_length: int = 16
    """T, moves of each episode between two rounds of learning."""
    num_epochs: int = 4
    """How often each round goes through its moves."""
    num_minibatches: int = 4
    """Gradient steps of each time."""

    def __post_init__(self):
        """Refuses sizes that do not fit together."""
        require_positive(self, "rollout_length", "num_epochs", "num_minibatches")
        if self.moves_per_round % self.num_minibatches:
            raise ValueError(
                f"{type(self).__name__}.num_minibatches must divide the {self.moves_per_round} moves of a round; got "
                f"{self.num_minibatches}"
            )

    @property
    def moves_per_round(self) -> int:
        """See base class."""
        return self.episodes.num_envs * self.rollout_length

    @property
    def gradient_steps(self) -> int:
        """See base class."""
        return self.num_epochs * self.num_minibatches

    @property
    def samples_per_round(self) -> int:
        """See base class."""
        return self.num_epochs * self.moves_per_round

    def with_episodes(self, num_envs: int) -> "RolloutAgent":
        """See base class; fewer minibatches, where as many no longer divide the moves of a round."""
        num_minibatches = math.gcd(self.num_minibatches, num_envs * self.rollout_length)
        episodes = dataclasses.replace(self.episodes, num_envs=num_envs)
        return dataclasses.replace(self, episodes=episodes, num_minibatches=num_minibatches)


class RolloutStage(OnlineStage):
    """One update plays, then goes through what was played; subclasses say how they act and for which loss."""

    @abc.abstractmethod
    def loss(self, params: Any, samples: Any) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Returns the loss on a minibatch, and figures to log."""

    def learn(
        self, state: TrainState, episodes: EpisodeState, steps: Step, samples: Any, key: Key[Array, ""]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """Takes the gradient steps of a round.

        Args:
          state: as it was before the round.
          episodes: where the episodes stand after it.
          steps: the moves, for the share of episodes that were solved.
          samples: what is learned from them, with leading axes of T and B.
          key: for the order of the samples.

        Returns:
          The state after the round, and figures to log.
        """
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), samples)
        keys = jax.random.split(key, self.config.num_epochs)
        orders = jax.vmap(lambda key: random_order(key, self.config.moves_per_round))(keys)
        params, _, opt_state, figures = self.descend(
            state,
            lambda params, _, order: self.loss(params, jax.tree.map(lambda leaf: leaf[order], samples)),
            orders.reshape(self.config.gradient_steps, -1),
        )
        figures |= {"solved_episodes": steps.solved.sum() / jnp.maximum(steps.ended.sum(), 1)}
        updated = TrainState(params=params, target=episodes, opt_state=opt_state, num_updates=state.num_updates + 1)
        return updated, figures


def random_order(key: Key[Array, ""], count: int) -> Int[Array, " count"]:
    """Returns the numbers from 0 to `count` - 1 in random order, for minibatches; `count` is at most 2^24.

    Sorts random numbers that carry a place in their low bits: one sort of one array, where `jax.random.permutation`
    sorts pairs, twice, which took a tenth of a round on a CPU. With 2^11 places 21 bits are random, with 2^24 eight.
    Places with equal random bits stay in their order; that matters only to the few on both sides of a minibatch's end.
    """
    if count > 2**24:
        raise ValueError(f"at most 2^24 moves of a round are shuffled; got {count}")
    low_bits = jnp.uint32((1 << (count - 1).bit_length()) - 1)
    places = jnp.arange(count, dtype=jnp.uint32)
    return (jnp.sort(jax.random.bits(key, (count,)) & ~low_bits | places) & low_bits).astype(jnp.int32)


def lambda_returns(
    solved: Bool[Array, "T B"],
    ended: Bool[Array, "T B"],
    values: Float[Array, "T B"],
    last_values: Float[Array, " B"],
    discount: float,
    trace_decay: float,
) -> Float[Array, "T B"]:
    """Returns what moves turned out to be worth, given the best values before each of them and after the last."""

    def back(carry, inputs):
        returned, following = carry
        solved, ended, value = inputs
        later = trace_decay * returned + (1 - trace_decay) * following
        returned = solved + discount * jnp.where(ended, 0.0, later)
        return (returned, value), returned

    inputs = (solved.astype(jnp.float32), ended, values)
    _, returns = jax.lax.scan(back, (last_values, last_values), inputs, reverse=True)
    return returns


def outcomes(steps: Step, last_values: Float[Array, " B"], discount: float) -> Float[Array, "T B"]:
    """Returns 1 discounted by the moves to the goal; 0 after giving up, the value where an episode goes on."""
    last_values = jnp.clip(last_values, 0.0, 1.0)
    unused = jnp.zeros(steps.solved.shape)
    return lambda_returns(steps.solved, steps.ended, unused, last_values, discount, trace_decay=1.0)
