"""Episodes on the true dynamics, many side by side: problems to practise on, and moves in them."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.offline import hindsight_masks
from jepa.envs.base import Env, matches
from jepa.types import Goal, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episodes:
    """Problems to practise on: made by walks, from easy to hard, never the test problems."""

    num_envs: int = 128
    """Episodes that run side by side."""
    max_scramble: int = 14
    """Longest walk that makes a problem; its length is drawn uniformly from 1 to this."""
    episode_length: int = 20
    """Moves after which an unsolved problem is given up."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_envs", "max_scramble", "episode_length")


@pytree
class EpisodeState:
    """Where B running episodes stand."""

    states: Int[Array, "*B N"]
    """Current states."""
    goals: Goal
    """What each is to reach."""
    num_moves: Int[Array, "*B"]
    """Moves made in each."""


@pytree
class Step:
    """What one move of B episodes led to."""

    before: EpisodeState
    """Where they stood before it."""
    codes: Float[Array, "*B D"]
    """States before the move, as codes."""
    goals: Float[Array, "*B D"]
    """Goals, as codes."""
    legal: Bool[Array, "*B A"]
    """Legal actions before the move."""
    actions: Int[Array, "*B"]
    """The move."""
    solved: Bool[Array, "*B"]
    """Whether it reached the goal."""
    ended: Bool[Array, "*B"]
    """Whether the episode ended, solved or given up; a new one follows."""


def new_episodes(env: Env, config: Episodes, key: Key[Array, ""]) -> EpisodeState:
    """Returns problems made by random walks.

    Where moves lead back, a problem leads from the end of a walk to its beginning; elsewhere from the beginning to what
    a goal of the domain could ask for at the end.
    """
    start_key, length_key, move_key, mask_key = jax.random.split(key, 4)
    first = jax.vmap(env.initial_state)(jax.random.split(start_key, config.num_envs))
    lengths = jax.random.randint(length_key, (config.num_envs,), 1, config.max_scramble + 1)
    draws = jax.random.uniform(move_key, (config.max_scramble, config.num_envs))

    def move(states, inputs):
        step, draw = inputs
        moved = jax.vmap(env.step)(states, drawn_legal(jax.vmap(env.legal_actions)(states), draw))
        return jnp.where((step < lengths)[:, None], moved, states), None

    last, _ = jax.lax.scan(move, first, (jnp.arange(config.max_scramble), draws))
    begin, end = (last, first) if env.is_reversible else (first, last)
    goals = Goal(tokens=end, mask=hindsight_masks(env, end, mask_key))
    return EpisodeState(states=begin, goals=goals, num_moves=jnp.zeros(config.num_envs, jnp.int32))


def advance(
    env: Env, config: Episodes, episodes: EpisodeState, actions: Int[Array, " B"], key: Key[Array, ""]
) -> tuple[EpisodeState, Bool[Array, " B"], Bool[Array, " B"]]:
    """Makes one move in each episode; returns the episodes, new ones where one ended, and what solved and ended."""
    states = jax.vmap(env.step)(episodes.states, actions)
    num_moves = episodes.num_moves + 1
    solved = matches(states, episodes.goals)
    is_stuck = ~jax.vmap(env.legal_actions)(states).any(axis=-1)
    ended = solved | is_stuck | (num_moves >= config.episode_length)
    moved = EpisodeState(states=states, goals=episodes.goals, num_moves=num_moves)

    def renewed(old: Array, new: Array) -> Array:
        return jnp.where(ended.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(renewed, moved, new_episodes(env, config, key)), solved, ended


def drawn_legal(legal: Bool[Array, "B A"], draws: Float[Array, " B"]) -> Int[Array, " B"]:
    """Returns legal actions, each as likely as any other, for uniform draws from [0, 1); the last where none is.

    One draw and a count, where a categorical draw takes a random number and two logarithms for every action: a new
    problem is drawn with every move, by a walk, and most are thrown away.
    """
    num_legal_so_far = jnp.cumsum(legal, axis=-1)
    chosen = jnp.floor(draws * num_legal_so_far[:, -1])
    return jnp.minimum((num_legal_so_far <= chosen[:, None]).sum(axis=-1), legal.shape[-1] - 1)


def explore(
    best: Int[Array, " B"], legal: Bool[Array, "B A"], epsilon: Float[Array, ""], key: Key[Array, ""]
) -> Int[Array, " B"]:
    """Returns the best actions, a share of them replaced by random legal ones."""
    random_key, choice_key = jax.random.split(key)
    anything = drawn_legal(legal, jax.random.uniform(random_key, best.shape))
    return jnp.where(jax.random.uniform(choice_key, best.shape) < epsilon, anything, best)


def epsilon_after(done: Float[Array, ""], last_epsilon: float) -> Float[Array, ""]:
    """Returns the share of random moves, which falls from 1 until `done` is 1, and then stays."""
    return jnp.maximum(last_epsilon, 1 - done * (1 - last_epsilon))
