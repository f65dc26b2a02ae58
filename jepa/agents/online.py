"""What online baselines share: episodes on the true dynamics, whose moves are counted as transitions seen."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.exact_model import exact_codes
from jepa.agents.offline import hindsight_masks
from jepa.envs.base import Env
from jepa.latents import leave_open
from jepa.training import Schedule, Stage, TrainState, check_divisible
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

    states: Int[Array, "B N"]
    """Current states."""
    goals: Goal
    """What each is to reach."""
    num_moves: Int[Array, " B"]
    """Moves made in each."""


@pytree
class Step:
    """What one move of B episodes led to."""

    codes: Float[Array, "B D"]
    """State before the move, as codes."""
    goals: Float[Array, "B D"]
    """Goal, as codes."""
    legal: Bool[Array, "B A"]
    """Legal actions before the move."""
    actions: Int[Array, " B"]
    """The move."""
    solved: Bool[Array, " B"]
    """Whether it reached the goal."""
    ended: Bool[Array, " B"]
    """Whether the episode ended, solved or given up; a new one follows."""


def new_episodes(env: Env, config: Episodes, key: Key[Array, ""]) -> EpisodeState:
    """Returns problems made by random walks.

    Where moves lead back, a problem leads from the end of a walk to its beginning; elsewhere from the beginning to what
    a goal of the domain could ask for at the end.
    """
    start_key, length_key, move_key, mask_key = jax.random.split(key, 4)
    first = jax.vmap(env.initial_state)(jax.random.split(start_key, config.num_envs))
    lengths = jax.random.randint(length_key, (config.num_envs,), 1, config.max_scramble + 1)

    def move(states, step):
        legal = jax.vmap(env.legal_actions)(states)
        actions = jax.random.categorical(jax.random.fold_in(move_key, step), jnp.where(legal, 0.0, -1e9))
        moved = jax.vmap(env.step)(states, actions)
        return jnp.where((step < lengths)[:, None], moved, states), None

    last, _ = jax.lax.scan(move, first, jnp.arange(config.max_scramble))
    begin, end = (last, first) if env.is_reversible else (first, last)
    goals = Goal(tokens=end, mask=hindsight_masks(env, end, mask_key))
    return EpisodeState(states=begin, goals=goals, num_moves=jnp.zeros(config.num_envs, jnp.int32))


def advance(
    env: Env, config: Episodes, episodes: EpisodeState, actions: Int[Array, " B"], key: Key[Array, ""]
) -> tuple[EpisodeState, Bool[Array, " B"], Bool[Array, " B"]]:
    """Makes one move in each episode; returns the episodes, new ones where one ended, and what solved and ended."""
    states = jax.vmap(env.step)(episodes.states, actions)
    num_moves = episodes.num_moves + 1
    solved = ((states == episodes.goals.tokens) | ~episodes.goals.mask).all(axis=-1)
    is_stuck = ~jax.vmap(env.legal_actions)(states).any(axis=-1)
    ended = solved | is_stuck | (num_moves >= config.episode_length)
    moved = EpisodeState(states=states, goals=episodes.goals, num_moves=num_moves)

    def renewed(old: Array, new: Array) -> Array:
        return jnp.where(ended.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(renewed, moved, new_episodes(env, config, key)), solved, ended


class OnlineStage(Stage):
    """Plays and learns in turns; one update is one turn, and its moves are counted.

    The learner's own state (episodes, buffers) is kept with the parameters, so that a resumed run goes on exactly.
    """

    def __init__(
        self,
        env: Env,
        episodes: Episodes,
        schedule: Schedule,
        transitions_per_update: int,
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(episodes.num_envs, mesh)
        self.env, self.episodes, self.schedule, self.mesh = env, episodes, schedule, mesh
        self.transitions_per_update = transitions_per_update
        init_key, self.update_key = jax.random.split(key)
        self.episode_key = jax.random.fold_in(init_key, 1)
        self._build = lambda: self.build(nnx.Rngs(init_key))
        self.graph = nnx.split(nnx.eval_shape(self._build))[0]

    @abc.abstractmethod
    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module with fresh parameters."""

    def init(self) -> TrainState:
        """See base class."""
        params = nnx.to_pure_dict(jax.jit(lambda: nnx.split(self._build())[1])())
        return TrainState(
            params=params,
            target=jax.jit(lambda key: new_episodes(self.env, self.episodes, key))(self.episode_key),
            opt_state=self.schedule.optimizer().init(params),
            num_updates=jnp.zeros((), jnp.int32),
        )

    def resources(self, params: Any) -> Any:
        """See base class: nothing, not even the recorded moves."""
        return jax.device_put((), NamedSharding(self.mesh, PartitionSpec()))

    def prepare(self, state: TrainState, resources: Any) -> Any:
        """See base class: nothing."""
        return resources

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        """See base class: nothing, by default."""
        return {}

    def play(
        self, episodes: EpisodeState, act: Any, num_steps: int, key: Key[Array, ""]
    ) -> tuple[EpisodeState, Step, Any]:
        """Makes moves in all episodes.

        Args:
          episodes: where they stand.
          act: codes [B, D], goals [B, D], legal actions [B, A] and a key to actions [B] and anything to be kept.
          num_steps: T, moves of each episode.
          key: for actions and new problems.

        Returns:
          The episodes, the steps and what `act` wanted kept, both with a leading axis of T.
        """

        def step(episodes, number):
            act_key, renew_key = jax.random.split(jax.random.fold_in(key, number))
            codes, goals = self.codes(episodes)
            legal = jax.vmap(self.env.legal_actions)(episodes.states)
            actions, kept = act(codes, goals, legal, act_key)
            episodes, solved, ended = advance(self.env, self.episodes, episodes, actions, renew_key)
            made = Step(codes=codes, goals=goals, legal=legal, actions=actions, solved=solved, ended=ended)
            return episodes, (made, kept)

        episodes, (steps, kept) = jax.lax.scan(step, episodes, jnp.arange(num_steps))
        return episodes, steps, kept

    def codes(self, episodes: EpisodeState) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
        """Returns the codes of the states and of the goals of episodes."""
        goals = leave_open(exact_codes(self.env, episodes.goals.tokens), episodes.goals.mask, self.env.num_tokens)
        return exact_codes(self.env, episodes.states), goals

    def module(self, params: Any) -> Any:
        """Returns the module with the given parameters."""
        return nnx.merge(self.graph, params)


def rounds_within(schedule: Schedule, transitions_per_update: int, num_transitions: int) -> Schedule:
    """Returns a schedule with as many updates as a number of moves allows, at least one compiled call."""
    calls = num_transitions // (transitions_per_update * schedule.updates_per_call)
    return dataclasses.replace(schedule, num_updates=max(1, calls) * schedule.updates_per_call)
