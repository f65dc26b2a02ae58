"""Goals in hindsight: what a goal of the domain could have asked for of the latents that walks reached."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.latents import leave_open
from jepa.types import pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoalRules:
    """What learning on imagined walks must know of a domain's goals."""

    is_reversible: bool = True
    """Whether distances are the same in both directions."""
    hindsight_mask: Callable[[Int[Array, " N"], Key[Array, ""]], Bool[Array, " N"]] | None = None
    """Which tokens of a reached state a goal could have asked for; None where goals are full states."""

    def masks(self, tokens: Int[Array, "*B N"], key: Key[Array, ""]) -> Bool[Array, "*B N"]:
        """Draws for every state what a goal that it satisfies fixes; goals must not be full states."""
        states = tokens.reshape(-1, tokens.shape[-1])
        return jax.vmap(self.hindsight_mask)(states, jax.random.split(key, len(states))).reshape(tokens.shape)


@pytree
class ReachedGoals:
    """Every state of some walks as a goal."""

    latents: Float[Array, "B T D"]
    """The goals; slots that they leave open are zeros."""
    tokens: Int[Array, "B T N"] | None
    """What the states are, and"""
    fixed: Bool[Array, "B T N"] | None
    """what each asks for as a goal; None where goals are full states."""

    def met_by(self, states: tuple[Int[Array, "..."], ...], goals: tuple[Int[Array, "..."], ...]) -> Bool[Array, "..."]:
        """Returns which states have all that goals ask for, both given by walks and times that broadcast.

        False for all where goals are full states: then none but the same state has.
        """
        if self.tokens is None:
            return jnp.zeros((), bool)
        return ((self.tokens[states] == self.tokens[goals]) | ~self.fixed[goals]).all(axis=-1)


def goals_in_hindsight(
    world_model: Any, latents: Float[Array, "B T D"], rules: GoalRules, key: Key[Array, ""]
) -> ReachedGoals:
    """Returns the states of imagined walks as goals of the domain, their tokens as the world model reads them."""
    if rules.hindsight_mask is None:
        return ReachedGoals(latents=latents, tokens=None, fixed=None)
    tokens = world_model.read_tokens(latents)
    fixed = rules.masks(tokens, key)
    opened = leave_open(latents, fixed, world_model.encoder.num_slots)
    return ReachedGoals(latents=opened, tokens=tokens, fixed=fixed)
