"""Proximal policy optimisation: reinforcement learning from the reward of reaching the goal."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, log_proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network, value_network
from jepa.agents.episodes import Step
from jepa.agents.guided_search import Guide, policy_guide
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineAgent
from jepa.agents.rollouts import RolloutAgent, RolloutStage
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class PPO(RolloutAgent, OnlineAgent):
    """Reward 1 for reaching the goal, discounted; clipped policy gradient on generalised advantages.

    It learns from its own moves, not from recorded ones. Policy and value are networks of the same kind.

    Source: Schulman et al., 2017.
    """

    network: Actor = ResidualMLPActor()
    """The policy; the value has a network of the same kind."""
    discount: float = 0.95
    """What a move later is worth less."""
    trace_decay: float = 0.9
    """Lambda of the generalised advantages."""
    clip: float = 0.2
    """How far the probability of an action may move in one round."""
    entropy_weight: float = 0.01
    """Reward for undecided policies."""
    value_weight: float = 0.5
    """Factor of the error of the value."""
    training: Schedule = Schedule(
        num_updates=500, batch_size=8192, learning_rate=1e-3, weight_decay=0.0, updates_per_call=1
    )
    """See base class."""
    planner: Planner = ProposalSearch(width=1, horizon=20)
    """How the policy is followed."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        require_positive(self, "clip")

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [PPOStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        return policy_guide(rebuilt(lambda rngs: ActorCritic(self.network, env, rngs), params[PPOStage.name]).policy)


class ActorCritic(nnx.Module):
    """A policy and a value, networks of the same kind."""

    def __init__(self, network: Actor, env: Env, rngs: nnx.Rngs):
        self.policy = policy_network(network, env, rngs)
        self.critic = value_network(network, env, rngs)

    def value(self, codes: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B"]:
        """Returns what a state is worth for a goal."""
        return self.critic(codes, goals)[..., 0]


@pytree
class PPOSamples:
    """Moves, and what PPO learns from them."""

    steps: Step
    """Moves."""
    log_probs: Float[Array, "*B"]
    """Of the actions, when they were taken."""
    advantages: Float[Array, "*B"]
    """How much better they turned out than expected."""
    returns: Float[Array, "*B"]
    """Targets of the value."""


class PPOStage(RolloutStage):
    """Plays by the policy and improves it; subclasses may be paid by something else."""

    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """See base class."""
        return ActorCritic(self.config.network, self.env, rngs)

    def update(self, state: TrainState, data: Any) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class."""
        config, module = self.config, self.module(state.params)
        key = jax.random.fold_in(self.update_key, state.num_updates)
        play_key, learn_key = jax.random.split(key)

        def act(episodes, codes, goals, legal, key):
            log_probs = log_proposals(module.policy(codes, goals), legal)
            actions = jax.random.categorical(key, log_probs)
            chosen = jnp.take_along_axis(log_probs, actions[:, None], axis=1)[:, 0]
            return actions, (chosen, module.value(codes, goals))

        episodes, steps, (log_probs, values) = self.play(state.target, act, config.rollout_length, play_key)
        last_values = module.value(*self.codes(episodes))
        advantages = self._advantages(
            self.rewards(module, steps), steps.ended, self.worth_after_end(steps, values), values, last_values
        )
        samples = PPOSamples(steps=steps, log_probs=log_probs, advantages=advantages, returns=advantages + values)
        samples = self.beside(samples, data, jax.random.fold_in(key, 2))
        return self.learn(state, episodes, steps, samples, learn_key)

    def rewards(self, module: Any, steps: Step) -> Float[Array, "T B"]:
        """Returns what each move is paid."""
        return steps.solved.astype(jnp.float32)

    def worth_after_end(self, steps: Step, values: Float[Array, "T B"]) -> Float[Array, "T B"]:
        """Returns what an episode is worth that ended with a move: nothing, so that giving up is to fail."""
        return jnp.zeros_like(values)

    def beside(self, samples: PPOSamples, data: Any, key: Key[Array, ""]) -> Any:
        """Returns samples with whatever else is to be learned from."""
        return samples

    def _advantages(
        self,
        rewards: Float[Array, "T B"],
        ended: Bool[Array, "T B"],
        worth_after_end: Float[Array, "T B"],
        values: Float[Array, "T B"],
        last_values: Float[Array, " B"],
    ) -> Float[Array, "T B"]:
        """Returns generalised advantages."""
        discount, decay = self.config.discount, self.config.trace_decay

        def back(carry, inputs):
            following, advantage = carry
            reward, ended, worth, value = inputs
            error = reward + discount * jnp.where(ended, worth, following) - value
            advantage = error + discount * decay * jnp.where(ended, 0.0, advantage)
            return (value, advantage), advantage

        carry = (last_values, jnp.zeros_like(last_values))
        _, advantages = jax.lax.scan(back, carry, (rewards, ended, worth_after_end, values), reverse=True)
        return advantages

    def loss(self, params: dict, samples: PPOSamples) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """See base class."""
        config, module, steps = self.config, self.module(params), samples.steps
        log_probs = log_proposals(module.policy(steps.codes, steps.goals), steps.legal)
        chosen = jnp.take_along_axis(log_probs, steps.actions[:, None], axis=1)[:, 0]
        ratio = jnp.exp(chosen - samples.log_probs)
        advantages = (samples.advantages - samples.advantages.mean()) / (samples.advantages.std() + 1e-8)
        clipped = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
        policy_loss = -jnp.minimum(ratio * advantages, clipped * advantages).mean()
        entropy = -jnp.where(steps.legal, jnp.exp(log_probs) * jnp.where(steps.legal, log_probs, 0.0), 0.0).sum(-1)
        value_loss = jnp.mean((module.value(steps.codes, steps.goals) - samples.returns) ** 2)
        loss = policy_loss + config.value_weight * value_loss - config.entropy_weight * entropy.mean()
        return loss, {"value_loss": value_loss, "entropy": entropy.mean()}
