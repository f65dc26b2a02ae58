"""Behaviour policies: who chose the actions in the recorded walks. None of them knows a goal or a reward."""

import abc
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from jepa.envs.base import Env


@dataclasses.dataclass(frozen=True, kw_only=True)
class Behaviour(abc.ABC):
    """A way to choose actions. Subclasses are frozen dataclasses; the manifest lists their fields."""

    walk_length: int = 14
    """T, the number of actions of each walk; every walk begins at `env.initial_state`."""

    def __post_init__(self) -> None:
        """Refuses walks without actions."""
        if self.walk_length < 1:
            raise ValueError(f"walk_length must be at least 1, came {self.walk_length}")

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short name with the walk length in it, for folders, such as `random14`."""

    @abc.abstractmethod
    def choose_action(
        self, env: Env, key: Key[Array, ""], previous_state: Int[Array, " N"], state: Int[Array, " N"]
    ) -> Int[Array, ""]:
        """Chooses a legal action; action 0, which then changes nothing, where none is legal.

        Args:
          env: the domain.
          key: randomness of this choice alone.
          previous_state: the state before the last action; every token -1 at the start of a walk.
          state: the present state.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomWalks(Behaviour):
    """Every legal action with the same probability."""

    @property
    def name(self) -> str:
        """Such as `random60`."""
        return f"random{self.walk_length}"

    def choose_action(
        self, env: Env, key: Key[Array, ""], previous_state: Int[Array, " N"], state: Int[Array, " N"]
    ) -> Int[Array, ""]:
        """Draws one of the legal actions."""
        return _draw(key, env.legal_actions(state))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NonBacktrackingWalks(Behaviour):
    """Every legal action that does not undo the last one, with the same probability.

    An action undoes the last one if it leads back to the state before it. Where every legal action does (a
    dead end), any legal action.
    """

    @property
    def name(self) -> str:
        """Such as `nonbacktracking14`."""
        return f"nonbacktracking{self.walk_length}"

    def choose_action(
        self, env: Env, key: Key[Array, ""], previous_state: Int[Array, " N"], state: Int[Array, " N"]
    ) -> Int[Array, ""]:
        """Draws one of the legal actions that lead elsewhere than back."""
        legal = env.legal_actions(state)
        successors = jax.vmap(env.step, in_axes=(None, 0))(state, jnp.arange(env.num_actions))
        onward = legal & (successors != previous_state).any(axis=-1)
        return _draw(key, jnp.where(onward.any(), onward, legal))


def _draw(key: Key[Array, ""], candidates: Bool[Array, " A"]) -> Int[Array, ""]:
    """Draws one candidate uniformly; 0 where there is none."""
    return jnp.argmax(jnp.where(candidates, jax.random.uniform(key, candidates.shape), -1.0))
