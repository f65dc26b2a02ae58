"""What online baselines share: episodes on the true dynamics, whose moves are counted as transitions seen."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.base import Agent
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.agents.guided_search import GuidedSearch
from jepa.agents.offline import hindsight_masks
from jepa.envs.base import Env, matches
from jepa.mesh import check_divisible, replicate
from jepa.training import ModuleStage, Schedule, TrainState
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

    codes: Float[Array, "*B D"]
    """State before the move, as codes."""
    goals: Float[Array, "*B D"]
    """Goal, as codes."""
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineLearner(Agent):
    """A baseline that makes its own moves on the true dynamics, and never looks at recorded ones."""

    episodes: Episodes = Episodes()
    """What it practises on."""
    training: Schedule = Schedule(num_updates=100, updates_per_call=1)
    """Rounds of playing and learning, and how fast it learns; its batch counts the samples of all gradient steps of a
    round. How many rounds there are follows from the experiment's `num_transitions`."""

    @property
    @abc.abstractmethod
    def moves_per_round(self) -> int:
        """Moves on the true dynamics in a round."""

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of a round, over all of which the schedule of the learning rate is stretched."""
        return 1

    def within(self, num_transitions: int) -> "OnlineLearner":
        """See base class: as many rounds as fit, at least one compiled call."""
        calls = num_transitions // (self.moves_per_round * self.training.updates_per_call)
        num_updates = max(1, calls) * self.training.updates_per_call
        return dataclasses.replace(self, training=dataclasses.replace(self.training, num_updates=num_updates))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineAgent(OnlineLearner, GuidedSearch):
    """Such a baseline that searches on the true dynamics, too."""


class OnlineStage(ModuleStage):
    """Plays and learns in turns; one update is one turn, and its moves are counted.

    What the learner keeps beside its parameters (episodes, buffers) is a part of the state, so that a resumed run goes
    on exactly.
    """

    def __init__(self, config: OnlineLearner, env: Env, key: Key[Array, ""], mesh: Mesh):
        check_divisible(config.episodes.num_envs, mesh)
        self.config, self.env, self.transitions_per_update = config, env, config.moves_per_round
        init_key, self.update_key = jax.random.split(key)
        self.episode_key = jax.random.fold_in(init_key, 1)
        super().__init__(lambda: self.build(nnx.Rngs(init_key)), config.training, mesh)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """See base class."""
        num_steps = self.schedule.num_updates * self.config.gradient_steps
        return dataclasses.replace(self.schedule, num_updates=num_steps).optimizer()

    @abc.abstractmethod
    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module with fresh parameters."""

    def init_target(self, params: Any) -> Any:
        """See base class: running episodes."""
        return jax.jit(lambda key: new_episodes(self.env, self.config.episodes, key))(self.episode_key)

    def resources(self, params: Any) -> Any:
        """See base class: nothing, not even the recorded moves."""
        return replicate((), self.mesh)

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
            episodes, solved, ended = advance(self.env, self.config.episodes, episodes, actions, renew_key)
            made = Step(codes=codes, goals=goals, legal=legal, actions=actions, solved=solved, ended=ended)
            return episodes, (made, kept)

        episodes, (steps, kept) = jax.lax.scan(step, episodes, jnp.arange(num_steps))
        return episodes, steps, kept

    def codes(self, episodes: EpisodeState) -> tuple[Float[Array, "B D"], Float[Array, "B D"]]:
        """Returns the codes of the states and of the goals of episodes."""
        return exact_codes(self.env, episodes.states), exact_goal_codes(self.env, episodes.goals)

    def descend(
        self,
        state: TrainState,
        loss: Callable[[Any, Any, Any], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]],
        inputs: Any,
        target: Any = (),
        target_rate: float = 0.0,
    ) -> tuple[Any, Any, Any, dict[str, Float[Array, ""]]]:
        """Takes the gradient steps of a turn.

        Args:
          state: parameters and optimizer before the first step.
          loss: parameters, those of a target network and the input of a step, to a loss and figures.
          inputs: what each step is given, with a leading axis of steps.
          target: parameters of a target network, if there is one.
          target_rate: share of the parameters that flows into it after every step.

        Returns:
          Parameters, those of the target network, the optimizer's state, and means of the figures.
        """
        optimizer = self.optimizer

        def step(carry, given):
            params, target, opt_state = carry
            (value, figures), gradients = jax.value_and_grad(loss, has_aux=True)(params, target, given)
            changes, opt_state = optimizer.update(gradients, opt_state, params)
            params = optax.apply_updates(params, changes)
            target = jax.tree.map(lambda old, new: old + target_rate * (new - old), target, params if target else ())
            return (params, target, opt_state), {"loss": value} | figures

        carry = (state.params, target, state.opt_state)
        (params, target, opt_state), figures = jax.lax.scan(step, carry, inputs)
        return params, target, opt_state, jax.tree.map(jnp.mean, figures)
