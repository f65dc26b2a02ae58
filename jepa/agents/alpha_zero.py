"""AlphaZero for one player: practise with tree search on the true dynamics, learn its policy and its outcomes."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.actors.base import Actor, log_proposals, proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.episodes import Episodes, EpisodeState, Step
from jepa.agents.exact_model import exact_planning_model
from jepa.agents.guided_search import Guide, moves_of_value
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineStage, ReplayAgent
from jepa.agents.ppo import ActorCritic
from jepa.agents.rollouts import outcomes
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlphaZero(ReplayAgent):
    """Policy towards what the tree search prefers, value towards the discounted outcome; then tree search.

    Moves are taken by Gumbel search with the network's own priors and values on the true dynamics. All moves of the
    search count as seen: they are made on the true dynamics, which a learned model does not have. The newest moves are
    learned from again and again.

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
    num_kept: int = 32_768
    """Newest moves that are learned from."""
    steps_per_round: int = 32
    """See base class."""
    value_weight: float = 0.5
    """Factor of the error of the value."""
    training: Schedule = Schedule(
        num_updates=200, batch_size=16_384, learning_rate=1e-3, weight_decay=1e-4, updates_per_call=1
    )
    """See base class."""
    planner: Planner = GumbelTreeSearch(num_simulations=64)
    """The search on test problems."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "rollout_length", "num_kept", "steps_per_round", "samples_per_step")
        if self.num_kept < (num_moves := self.episodes.num_envs * self.rollout_length):
            raise ValueError(f"AlphaZero.num_kept must hold the {num_moves} moves of a round; got {self.num_kept}")

    @property
    def moves_per_round(self) -> int:
        """See base class: those of the searches included."""
        return self.episodes.num_envs * self.rollout_length * (1 + self.practice.num_simulations)

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
    """Moves, and what was made of them."""

    codes: Float[Array, "*B D"]
    """States before them."""
    goals: Float[Array, "*B D"]
    """Goals."""
    legal: Bool[Array, "*B A"]
    """Legal actions."""
    policy: Float[Array, "*B A"]
    """What the search preferred."""
    returns: Float[Array, "*B"]
    """Discounted outcomes."""


@pytree
class _Practice:
    """Running episodes, and the newest moves."""

    episodes: EpisodeState
    """Where the episodes stand."""
    kept: _Samples
    """The moves, the oldest overwritten."""
    count: Int[Array, ""]
    """Moves ever kept."""


class _AlphaZeroStage(OnlineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return ActorCritic(self.config.network, self.env, rngs)

    def init_target(self, params: Params) -> _Practice:
        episodes = super().init_target(params)
        count, width = self.config.num_kept, jax.eval_shape(self.codes, episodes)[0].shape[-1]
        kept = _Samples(
            codes=jnp.zeros((count, width)),
            goals=jnp.zeros((count, width)),
            legal=jnp.zeros((count, self.env.num_actions), bool),
            policy=jnp.zeros((count, self.env.num_actions)),
            returns=jnp.zeros(count),
        )
        return _Practice(episodes=episodes, kept=kept, count=jnp.zeros((), jnp.int32))

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        play_key, draw_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        episodes, steps, samples = self._play(self.module(state.params), state.target.episodes, play_key)
        practice = self._keep(state.target, episodes, samples)
        shape = self.config.steps_per_round, self.config.samples_per_step
        chosen = jax.random.randint(draw_key, shape, 0, jnp.minimum(practice.count, self.config.num_kept))
        params, _, opt_state, figures = self.descend(
            state,
            lambda params, _, chosen: self._loss(params, jax.tree.map(lambda leaf: leaf[chosen], practice.kept)),
            chosen,
        )
        figures |= {"solved_episodes": steps.solved.sum() / jnp.maximum(steps.ended.sum(), 1)}
        updated = TrainState(params=params, target=practice, opt_state=opt_state, num_updates=state.num_updates + 1)
        return updated, figures

    def _play(
        self, module: "ActorCritic", episodes: EpisodeState, key: Key[Array, ""]
    ) -> tuple[EpisodeState, Step, _Samples]:
        """Makes the moves that the search prefers; returns the episodes, the moves, and what is learned from them."""
        config, guide = self.config, self.config.guide_of(module)
        model = exact_planning_model(self.env, guide.cost, guide.propose)

        def act(codes, goals, legal, key):
            goal = {"codes": goals[:, None], "given": goals[:, None]}
            return config.practice.decide(model, codes, goal, key)

        episodes, steps, policy = self.play(episodes, act, config.rollout_length, key)
        returns = outcomes(steps, module.value(*self.codes(episodes)), config.practice.discount)
        samples = _Samples(codes=steps.codes, goals=steps.goals, legal=steps.legal, policy=policy, returns=returns)
        return episodes, steps, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), samples)

    def _keep(self, practice: _Practice, episodes: EpisodeState, samples: _Samples) -> _Practice:
        """Returns what is kept, the samples of a round in place of the oldest."""
        num_samples = len(samples.returns)
        places = (practice.count + jnp.arange(num_samples)) % self.config.num_kept
        kept = jax.tree.map(lambda old, new: old.at[places].set(new), practice.kept, samples)
        return _Practice(episodes=episodes, kept=kept, count=practice.count + num_samples)

    def _loss(self, params: dict, samples: _Samples) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        module, legal = self.module(params), samples.legal
        log_probs = log_proposals(module.policy(samples.codes, samples.goals), legal)
        policy_loss = -jnp.where(legal, samples.policy * jnp.where(legal, log_probs, 0.0), 0.0)
        policy_loss = policy_loss.sum(axis=-1).mean()
        value_loss = jnp.mean((module.value(samples.codes, samples.goals) - samples.returns) ** 2)
        loss = policy_loss + self.config.value_weight * value_loss
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss}
