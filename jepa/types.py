"""Shape letters and the pytrees that cross file borders.

Shape letters, used in every annotation and docstring of the project:

    B  batch            T  time (number of actions of a walk; T + 1 states)
    A  actions          N  tokens of an observation
    D  latent width     S  slots of a latent (D is S times the slot width; a flat latent has S = 1)
    K  candidates       W  beam width
    E  width of the embedding in which a cost measures distance
"""

import dataclasses
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

T = TypeVar("T")

Tokens = Int[Array, "*B N"]
Actions = Int[Array, "*B"]
Latents = Float[Array, "*B D"]
LegalActions = Bool[Array, "*B A"]


def pytree(cls: type[T]) -> type[T]:
    """Makes a class a frozen, keyword-only dataclass that JAX treats as a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, kw_only=True)(cls))


def require_positive(config: Any, *names: str) -> None:
    """Raises ValueError naming the first of a config's fields that is not above zero."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{type(config).__name__}.{name} must be above 0; got {getattr(config, name)}")


def added_later(default: Any, *, before: Any) -> Any:
    """Returns a field that runs from before it do not have in their config.json; they are read with `before`."""
    return dataclasses.field(default=default, metadata={"before": before})


@pytree
class Goal:
    """What is to be reached; one layout for the three kinds of goal (see `envs.base.GoalKind`).

    A full state fixes every token; a partial state or a set of states fixes those under the mask (or, as for
    Countdown's target, carries its parameters in the tokens); a predicate fixes none. The environment's
    `is_solved` is the only authority on whether a state satisfies it.
    """

    tokens: Int[Array | np.ndarray, "*B N"]
    """Required values; meaningless where the mask is False."""
    mask: Bool[Array | np.ndarray, "*B N"]
    """Which tokens the goal fixes."""


@pytree
class Problem:
    """A start and a goal; a batch of problems has a leading batch axis on every leaf."""

    start: Int[Array | np.ndarray, "*B N"]
    """The state to start from."""
    goal: Goal
    """What is to be reached."""


@pytree
class Trajectories:
    """Recorded walks without rewards: the only thing that training sees."""

    actions: Int[Array | np.ndarray, "B T"]
    """Actions taken."""
    states: Int[Array | np.ndarray, "B T+1 N"]
    """States before, between and after the actions."""
    legal_actions: Bool[Array | np.ndarray, "B T+1 A"]
    """Which actions were possible in each state."""


@pytree
class Plan:
    """What a planner returns for each of B problems; T is the planner's horizon."""

    actions: Int[Array, "B T"]
    """Actions from the start on, padded with -1 behind the end of the plan."""
    predicted_costs: Float[Array, "B T+1"]
    """Predicted cost to go of the start and after each action, padded with NaN."""
    claims_solved: Bool[Array, " B"]
    """Whether the planner holds that the plan reaches the goal; only a verifier can tell."""
    num_nodes_generated: Int[Array, " B"]
    """Predicted successors that the search considered (legal actions of the nodes it expanded)."""
