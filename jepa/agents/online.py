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
from jaxtyping import Array, Float, Key

from jepa.agents.base import Agent
from jepa.agents.episodes import Episodes, EpisodeState, Step, advance, new_episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.agents.guided_search import GuidedSearch
from jepa.envs.base import Env
from jepa.mesh import check_divisible, replicate
from jepa.training import ModuleStage, Schedule, TrainState
from jepa.types import Goal

LEAST_ROUNDS = 10
"""Rounds that a training should have at least, if they can be made smaller."""
LEAST_EPISODES = 8
"""Episodes of a round below which it is not made smaller."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineLearner(Agent):
    """A baseline that makes its own moves on the true dynamics, and never looks at recorded ones."""

    episodes: Episodes = Episodes()
    """What it practises on."""
    training: Schedule = Schedule(num_updates=100, updates_per_call=1)
    """Rounds of playing and learning, and how fast it learns; its batch counts the samples of all gradient steps of a
    round. How many rounds there are follows from the experiment's `num_transitions` (see `within`)."""

    @property
    @abc.abstractmethod
    def moves_per_round(self) -> int:
        """Moves on the true dynamics in a round."""

    @property
    @abc.abstractmethod
    def samples_per_round(self) -> int:
        """Samples of all gradient steps of a round."""

    @property
    def gradient_steps(self) -> int:
        """Gradient steps of a round, over all of which the schedule of the learning rate is stretched."""
        return 1

    def within(self, num_transitions: int) -> "OnlineLearner":
        """See base class: as many rounds as fit, at least one compiled call.

        Where fewer than ten rounds would fit, rounds of fewer episodes are played, half as many again and again: one
        round of many moves teaches less than ten of few.
        """
        agent, per_call = self, self.training.updates_per_call
        most = num_transitions // max(LEAST_ROUNDS, per_call)
        while agent.moves_per_round > most and agent.episodes.num_envs >= 2 * LEAST_EPISODES:
            agent = agent.with_episodes(agent.episodes.num_envs // 2)
        return agent.with_rounds(max(1, num_transitions // (agent.moves_per_round * per_call)) * per_call)

    def with_episodes(self, num_envs: int) -> "OnlineLearner":
        """Returns the agent as it trains with a number of episodes side by side."""
        return dataclasses.replace(self, episodes=dataclasses.replace(self.episodes, num_envs=num_envs))

    def with_rounds(self, num_rounds: int) -> "OnlineLearner":
        """Returns the agent as it trains for a number of rounds."""
        training = dataclasses.replace(self.training, num_updates=num_rounds, batch_size=self.samples_per_round)
        return dataclasses.replace(self, training=training)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineAgent(OnlineLearner, GuidedSearch):
    """Such a baseline that searches on the true dynamics, too."""

    def goal_codes(self, env: Env, goal: Goal) -> dict[str, Float[Array, "B K D"]]:
        """See base class: as in practice."""
        return self.episodes.test_goals(env, goal)


class OnlineStage(ModuleStage):
    """Plays and learns in turns; one update is one turn, and its moves are counted.

    What the learner keeps beside its parameters (episodes, buffers) is a part of the state, so that a resumed run goes
    on exactly.
    """

    def __init__(self, config: OnlineLearner, env: Env, key: Key[Array, ""], mesh: Mesh):
        check_divisible(config.episodes.num_envs, mesh)
        self.config, self.env, self.transitions_per_update = config, env, config.moves_per_round
        self.verifier_calls_per_update = self.transitions_per_update  # Whether it was the last one of an episode.
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
        return new_episodes(self.env, self.config.episodes, self.episode_key)

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
          act: where they stand, its codes [B, D], codes of the goals [B, D], legal actions [B, A] and a key to actions
            [B] and anything to be kept.
          num_steps: T, moves of each episode.
          key: for actions and new problems.

        Returns:
          The episodes, the steps and what `act` wanted kept, both with a leading axis of T.
        """

        def step(episodes, number):
            act_key, renew_key = jax.random.split(jax.random.fold_in(key, number))
            codes, goals = self.codes(episodes)
            legal = jax.vmap(self.env.legal_actions)(episodes.states)
            actions, kept = act(episodes, codes, goals, legal, act_key)
            after, solved, ended = advance(self.env, self.config.episodes, episodes, actions, renew_key)
            made = Step(
                before=episodes, codes=codes, goals=goals, legal=legal, actions=actions, solved=solved, ended=ended
            )
            return after, (made, kept)

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
