"""Episodes on the true dynamics, many side by side: problems to practise on, and moves in them."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.exact_model import exact_goal_codes, exact_search_goals
from jepa.agents.offline import hindsight_masks, posed_goals
from jepa.envs.base import Env, GoalKind, matches
from jepa.types import Goal, added_later, pytree, require_positive

MAX_DRAWS = 16
"""How often problems are drawn in the place of those that are solved before the first move."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episodes:
    """Problems to practise on: made by walks, from easy to hard, never the test problems."""

    num_envs: int = 128
    """Episodes that run side by side."""
    max_scramble: int = 14
    """Longest walk that makes a problem; its length is drawn uniformly from 1 to this."""
    episode_length: int = 20
    """Moves after which an unsolved problem is given up."""

    as_posed: bool = added_later(True, before=False)
    """Whether goals are posed, and given to networks, as those of test problems are, and no set of states is reached
    before the first move. Otherwise they ask for tokens of the state that a walk reached: one of a goal's alternatives,
    all of which networks are then given in the search on test problems. It matters to Countdown alone."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_envs", "max_scramble", "episode_length")

    def met_by(self, env: Env, states: Int[Array, "B N"], goals: Goal) -> Bool[Array, " B"]:
        """Returns which states satisfy their goals."""
        return matches(states[:, None], self._alternatives(env, goals)).any(axis=1)

    def search_goals(self, env: Env, goals: Goal) -> dict[str, Float[Array, "B K D"]]:
        """Returns goals for a search on the true dynamics: `codes` of alternatives and what is `given` to networks."""
        codes, given = exact_goal_codes(env, self._alternatives(env, goals)), exact_goal_codes(env, goals)
        return {"codes": codes, "given": given[:, None]}

    def test_goals(self, env: Env, goals: Goal) -> dict[str, Float[Array, "B K D"]]:
        """Returns the same for goals of test problems."""
        return self.search_goals(env, goals) if self.as_posed else exact_search_goals(env, goals)

    def _alternatives(self, env: Env, goals: Goal) -> Goal:
        if self.as_posed:
            return jax.vmap(env.goal_alternatives)(goals)
        return jax.tree.map(lambda leaf: leaf[:, None], goals)


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
    a goal of the domain could ask for at the end. Where goals are sets of states, problems that this makes solved
    already are drawn again; where they are full states, such problems ask to leave and to come back, as the walk did.
    """
    problems = _walked_problems(env, config, key)
    if env.goal_kind is GoalKind.STATE or not config.as_posed:
        return problems

    def is_solved(problems: EpisodeState) -> Bool[Array, " B"]:
        return config.met_by(env, problems.states, problems.goals)

    def draw_again(carry: tuple[EpisodeState, Int[Array, ""]]) -> tuple[EpisodeState, Int[Array, ""]]:
        problems, number = carry
        others = _walked_problems(env, config, jax.random.fold_in(key, number))
        return _renewed(is_solved(problems), problems, others), number + 1

    def is_unfinished(carry: tuple[EpisodeState, Int[Array, ""]]) -> Bool[Array, ""]:
        return is_solved(carry[0]).any() & (carry[1] < MAX_DRAWS)

    return jax.lax.while_loop(is_unfinished, draw_again, (problems, jnp.int32(0)))[0]


def _walked_problems(env: Env, config: Episodes, key: Key[Array, ""]) -> EpisodeState:
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
    if config.as_posed:
        goals = posed_goals(env, begin, end, mask_key)
    else:
        goals = Goal(tokens=end, mask=hindsight_masks(env, end, mask_key))
    return EpisodeState(states=begin, goals=goals, num_moves=jnp.zeros(config.num_envs, jnp.int32))


def advance(
    env: Env, config: Episodes, episodes: EpisodeState, actions: Int[Array, " B"], key: Key[Array, ""]
) -> tuple[EpisodeState, Bool[Array, " B"], Bool[Array, " B"]]:
    """Makes one move in each episode; returns the episodes, new ones where one ended, and what solved and ended."""
    states = jax.vmap(env.step)(episodes.states, actions)
    num_moves = episodes.num_moves + 1
    solved = config.met_by(env, states, episodes.goals)
    is_stuck = ~jax.vmap(env.legal_actions)(states).any(axis=-1)
    ended = solved | is_stuck | (num_moves >= config.episode_length)
    moved = EpisodeState(states=states, goals=episodes.goals, num_moves=num_moves)
    return _renewed(ended, moved, new_episodes(env, config, key)), solved, ended


def _renewed(which: Bool[Array, " B"], old: EpisodeState, new: EpisodeState) -> EpisodeState:
    def chosen(old: Array, new: Array) -> Array:
        return jnp.where(which.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(chosen, old, new)


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
