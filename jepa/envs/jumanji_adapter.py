"""The bridge to Jumanji: tokens become the state of one of its environments, which steps, and its state tokens again.

Each environment has a file of its own that says which tokens its state is. What Jumanji keeps beside the puzzle (how
many steps an episode has lasted, the key of the next one) has no influence on the dynamics and is made up.
"""

import abc
import dataclasses
import functools
from typing import Any

import jax
from jaxtyping import Array, Int

from jepa.envs.base import Env


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumanjiEnv(Env):
    """An environment of Jumanji whose step draws nothing at random."""

    def __post_init__(self) -> None:
        """Refuses everything if Jumanji is not installed."""
        _ = self.jumanji

    @property
    def jumanji(self) -> Any:
        """Jumanji's own environment."""
        return _built(self)

    @abc.abstractmethod
    def build(self) -> Any:
        """Makes Jumanji's own environment, which `jumanji` then keeps.

        Raises:
          ValueError: Jumanji is not installed.
        """

    @abc.abstractmethod
    def to_jumanji(self, state: Int[Array, " N"]) -> Any:
        """Returns Jumanji's state of some tokens."""

    @abc.abstractmethod
    def from_jumanji(self, state: Any) -> Int[Array, " N"]:
        """Returns the tokens of Jumanji's state."""

    def action_to_jumanji(self, action: Int[Array, ""]) -> Int[Array, "..."]:
        """Returns Jumanji's name of an action: the same number, where it has one number."""
        return action

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Lets Jumanji's environment step; that an episode of it may end there is ignored."""
        following, _ = self.jumanji.step(self.to_jumanji(state), self.action_to_jumanji(action))
        return self.from_jumanji(following)


@functools.cache
def _built(env: JumanjiEnv) -> Any:
    # Jumanji makes arrays when it is built, and would keep tracers if that happened while something is compiled.
    with jax.ensure_compile_time_eval():
        return env.build()
