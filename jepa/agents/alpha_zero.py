"""AlphaZero for one player: practise with tree search on the true dynamics, learn its policy and its outcomes."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, log_proposals, proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.episodes import Episodes, Step
from jepa.agents.exact_model import exact_planning_model
from jepa.agents.guided_search import Guide, moves_of_value
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineAgent, OnlineStage
from jepa.agents.ppo import ActorCritic
from jepa.agents.rollouts import outcomes
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlphaZero(OnlineAgent):
    """Policy towards what the tree search prefers, value towards the discounted outcome; then tree search.

    Moves are taken by Gumbel search with the network's own priors and values on the true dynamics. All moves of the
    search count as seen: they are made on the true dynamics, which a learned model does not have.

    Source: Silver et al., 2017; Danihelka et al., 2022; the search is that of mctx.
    """

    network: Actor = ResidualMLPActor()
    """The policy; the value has a network of the same kind."""
    episodes: Episodes = Episodes(num_envs=64)
    """What it practises on."""
    practice: GumbelTreeSearch = GumbelTreeSearch(num_simulations=16, gumbel_scale=1.0)
    """The search that chooses moves in practice."""
    rollout_length: int = 16
    """T, moves of each episode between two rounds of learning."""
    num_epochs: int = 4
    """Gradient steps of a round, each on all of its moves."""
    value_weight: float = 0.5
    """Factor of the error of the value."""
    training: Schedule = Schedule(
        num_updates=200, batch_size=4096, learning_rate=1e-3, weight_decay=1e-4, updates_per_call=1
    )
    """See base class."""
    planner: Planner = GumbelTreeSearch(num_simulations=64)
    """The search on test problems."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "rollout_length", "num_epochs")

    @property
    def moves_per_round(self) -> int:
        """See base class: those of the searches included."""
        return self.episodes.num_envs * self.rollout_length * (1 + self.practice.num_simulations)

    @property
    def gradient_steps(self) -> int:
        """See base class."""
        return self.num_epochs

    @property
    def samples_per_round(self) -> int:
        """See base class."""
        return self.num_epochs * self.episodes.num_envs * self.rollout_length

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_AlphaZeroStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        build = lambda rngs: ActorCritic(self.network, env, rngs)  # noqa: E731
        return self.guide_of(rebuilt(build, params[_AlphaZeroStage.name]))

    def guide_of(self, module: "ActorCritic") -> Guide:
        """Returns proposals of the policy, and as the cost the number of moves that the value stands for."""

        def cost(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C"]:
            value = module.value(codes[:, :, None], goals[:, None]).max(axis=-1)
            return moves_of_value(value, self.practice.discount)

        def propose(
            codes: Float[Array, "B C D"], goals: Float[Array, "B K D"], legal: Bool[Array, "B C A"]
        ) -> Float[Array, "B C A"]:
            return proposals(module.policy, codes, goals, legal)

        return Guide(cost=cost, propose=propose)


@pytree
class _Samples:
    steps: Step
    """Moves."""
    policy: Float[Array, "*B A"]
    """What the search prefers."""
    returns: Float[Array, "*B"]
    """Discounted outcomes."""


class _AlphaZeroStage(OnlineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return ActorCritic(self.config.network, self.env, rngs)

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        config, module = self.config, self.module(state.params)
        key = jax.random.fold_in(self.update_key, state.num_updates)
        guide = config.guide_of(module)
        model = exact_planning_model(self.env, guide.cost, guide.propose)

        def act(codes, goals, legal, key):
            goal = {"codes": goals[:, None], "given": goals[:, None]}
            actions, policy = config.practice.decide(model, codes, goal, key)
            return actions, policy

        episodes, steps, policy = self.play(state.target, act, config.rollout_length, key)
        returns = outcomes(steps, module.value(*self.codes(episodes)), config.practice.discount)
        samples = _Samples(steps=steps, policy=policy, returns=returns)
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), samples)
        epochs = jnp.arange(config.num_epochs)
        params, _, opt_state, figures = self.descend(state, lambda params, *_: self._loss(params, samples), epochs)
        figures |= {"solved_episodes": steps.solved.sum() / jnp.maximum(steps.ended.sum(), 1)}
        updated = TrainState(params=params, target=episodes, opt_state=opt_state, num_updates=state.num_updates + 1)
        return updated, figures

    def _loss(self, params: dict, samples: _Samples) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        module, steps = self.module(params), samples.steps
        log_probs = log_proposals(module.policy(steps.codes, steps.goals), steps.legal)
        policy_loss = -jnp.where(steps.legal, samples.policy * jnp.where(steps.legal, log_probs, 0.0), 0.0)
        policy_loss = policy_loss.sum(axis=-1).mean()
        value_loss = jnp.mean((module.value(steps.codes, steps.goals) - samples.returns) ** 2)
        loss = policy_loss + self.config.value_weight * value_loss
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss}
