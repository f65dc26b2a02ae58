"""The border of planning: pure functions on latents go in, a plan comes out.

A planner never sees an environment, an encoder or a token. That is not a promise but a fact of its imports (a test
checks them): all it receives is a `PlanningModel` and latents.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Array, Bool, Float, Int, Key

from jepa.types import Plan

GoalLatents = Any
"""Goals of B problems, arrays with a leading axis of B: only the functions of a `PlanningModel` look inside."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanningModel:
    """What a planner may know: batched pure functions of latents."""

    predict_all: Callable[[Float[Array, "B D"]], Float[Array, "B A D"]]
    """Latents to the latents after every action."""
    predict: Callable[[Float[Array, "B D"], Int[Array, " B"]], Float[Array, "B D"]]
    """Latents to the latents after one action each."""
    legal_actions: Callable[[Float[Array, "B D"]], Bool[Array, "B A"]]
    """Latents to the actions that are held to be legal."""
    cost: Callable[[Float[Array, "B C D"], GoalLatents], Float[Array, "B C"]]
    """C latents of each problem to the predicted number of actions from there to the problem's goal."""
    goal_difference: Callable[[Float[Array, "B C D"], GoalLatents], Float[Array, "B C"]]
    """C latents of each problem to how far they are from satisfying the goal: the mean squared difference in the worst
    slot, 0 where a latent is that of the goal and about 2 where it is unrelated."""
    shares_predictions: bool = True
    """Whether predicting all actions at once costs much less than each by itself, as with one matrix per action; where
    it does not, a search predicts only what is legal."""
    propose: Callable[[Float[Array, "B C D"], GoalLatents], Float[Array, "B C A"]] | None = None
    """C latents of each problem to the logarithms of the probabilities with which an actor proposes each action, minus
    infinity where it is held to be illegal; None where there is no actor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planner(abc.ABC):
    """A search over predicted latents; instances are frozen, so that they can be closed over by `jax.jit`."""

    compute_axis: ClassVar[str] = ""
    """Name of the field that says how much is searched: the axis of test-time compute. Empty where nothing does."""

    @abc.abstractmethod
    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """Plans from B start latents to the goals of B problems; pure and jittable.

        Deterministic planners ignore the key.
        """

    @abc.abstractmethod
    def nodes_per_ply(self, num_actions: int) -> int:
        """Returns the nodes that one problem generates at a time: how much work there is to batch."""

    def scaled(self, factor: float | int) -> "Planner":
        """Returns the same search with so many times the test-time compute, rounded, and at least the least there is.

        Raises:
          ValueError: nothing says how much this planner searches, or the factor is not above 0.
        """
        if not self.compute_axis:
            raise ValueError(f"{type(self).__name__} has no size, so that its test-time compute cannot be scaled")
        if not factor > 0:
            raise ValueError(f"a search can be scaled by numbers above 0; got {factor}")
        size = max(1, round(getattr(self, self.compute_axis) * factor))
        return dataclasses.replace(self, **{self.compute_axis: size})
