"""What MuZero learns from: moves, each with those that follow it, over which the model is unrolled."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa.agents.episodes import EpisodeState, Step
from jepa.latents import goal_difference
from jepa.types import pytree


@pytree
class Windows:
    """Moves, and for each the K that follow; what lies behind the end of an episode or of the round is left out."""

    before: EpisodeState
    """State before the first move, and goal."""
    actions: Int[Array, "*B K"]
    """The moves."""
    following: Int[Array, "*B K N"] | None
    """States after each of them, where the episode goes on; None where nothing is learned from them."""
    is_state: Bool[Array, "*B K+1"]
    """Whether a state lies before, between and behind them that belongs to the episode and was searched from."""
    legal: Bool[Array, "*B K+1 A"]
    """Legal actions there."""
    policy: Float[Array, "*B K+1 A"]
    """What the search preferred there."""
    returns: Float[Array, "*B K+1"]
    """Discounted outcomes from there."""
    is_judged: Bool[Array, "*B K+1"]
    """Whether it is known if the goal is reached there."""
    reached: Bool[Array, "*B K+1"]
    """If it is."""


def windows(
    steps: Step,
    policy: Float[Array, "T B A"],
    returns: Float[Array, "T B"],
    num_unrolled: int,
    *,
    with_following: bool,
) -> Windows:
    """Returns a window for every move of a round, with leading axes of T and B.

    Args:
      steps: the moves.
      policy: what the search preferred before each of them.
      returns: discounted outcomes from there.
      num_unrolled: K.
      with_following: whether the states that came are learned from.
    """
    length, ahead = len(returns), jnp.arange(num_unrolled + 1)
    times = jnp.arange(length)[:, None] + ahead

    def along(leaf: Array) -> Array:
        return jnp.moveaxis(leaf[jnp.minimum(times, length - 1)], 1, 2)

    def after(leaf: Array, first: Array) -> Array:
        return jnp.concatenate([first, leaf[..., :-1]], axis=-1)

    ended = along(steps.ended).astype(jnp.int32)
    goes_on = jnp.cumsum(ended, axis=-1) - ended == 0
    is_state = goes_on & (times < length)[:, None]
    num_tokens = steps.before.states.shape[-1]
    pairs = (steps.codes[..., None, :], steps.goals[..., None, :])
    start = jax.vmap(lambda codes, goals: goal_difference(codes, goals, num_tokens))(*pairs)
    return Windows(
        before=steps.before,
        actions=along(steps.actions)[..., :-1],
        following=along(steps.before.states)[..., 1:, :] if with_following else None,
        is_state=is_state,
        legal=along(steps.legal),
        policy=along(policy),
        returns=along(returns),
        is_judged=after(is_state, jnp.ones_like(is_state[..., :1])),
        reached=after(along(steps.solved), start < 1e-3),
    )


def empty_windows(
    episodes: EpisodeState, num_unrolled: int, num_tokens: int, num_actions: int, *, with_following: bool
) -> Windows:
    """Returns a window of no move, for the shapes and types."""
    return Windows(
        before=jax.tree.map(lambda leaf: leaf[0], episodes),
        actions=jnp.zeros(num_unrolled, jnp.int32),
        following=jnp.zeros((num_unrolled, num_tokens), jnp.int32) if with_following else None,
        is_state=jnp.zeros(num_unrolled + 1, bool),
        legal=jnp.zeros((num_unrolled + 1, num_actions), bool),
        policy=jnp.zeros((num_unrolled + 1, num_actions)),
        returns=jnp.zeros(num_unrolled + 1),
        is_judged=jnp.zeros(num_unrolled + 1, bool),
        reached=jnp.zeros(num_unrolled + 1, bool),
    )
