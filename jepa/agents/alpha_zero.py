"""AlphaZero for one player: practise with tree search on the true dynamics, learn its policy and its outcomes."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, log_proposals, proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.episodes import Episodes, EpisodeState
from jepa.agents.exact_model import exact_planning_model
from jepa.agents.guided_search import Guide, moves_of_value
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineAgent
from jepa.agents.ppo import ActorCritic
from jepa.agents.replay import Practice, ReplayAgent, ReplayStage, empty_replay
from jepa.agents.rollouts import outcomes
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlphaZero(ReplayAgent, OnlineAgent):
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
        super().__post_init__()
        require_positive(self, "rollout_length")
        self.check_capacity(self.num_kept, self.episodes.num_envs * self.rollout_length)

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

    before: EpisodeState
    """States before them, and goals."""
    policy: Float[Array, "*B A"]
    """What the search preferred."""
    returns: Float[Array, "*B"]
    """Discounted outcomes."""


class _AlphaZeroStage(ReplayStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return ActorCritic(self.config.network, self.env, rngs)

    def init_target(self, params: Params) -> Practice:
        episodes = super().init_target(params)
        example = _Samples(
            before=jax.tree.map(lambda leaf: leaf[0], episodes),
            policy=jnp.zeros(self.env.num_actions),
            returns=jnp.zeros(()),
        )
        return Practice(episodes=episodes, replay=empty_replay(example, self.config.num_kept))

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        play_key, draw_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        module, config = self.module(state.params), self.config
        episodes, steps, policy = self.play(state.target.episodes, self._act(module), config.rollout_length, play_key)
        returns = outcomes(steps, module.value(*self.codes(episodes)), config.practice.discount)
        samples = _Samples(before=steps.before, policy=policy, returns=returns)
        return self.learn_from_practice(state, episodes, steps, samples, draw_key)

    def _act(self, module: "ActorCritic") -> Callable[..., tuple[Array, Array]]:
        """Returns what chooses moves, and says what the search preferred."""
        guide = self.config.guide_of(module)
        model = exact_planning_model(self.env, guide.cost, guide.propose)

        def act(episodes, codes, goals, legal, key):
            goal = self.config.episodes.search_goals(self.env, episodes.goals)
            return self.config.practice.decide(model, codes, goal, key)

        return act

    def loss(self, params: dict, samples: _Samples) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        module, (codes, goals) = self.module(params), self.codes(samples.before)
        legal = jax.vmap(self.env.legal_actions)(samples.before.states)
        policy_loss = policy_error(module.policy(codes, goals), samples.policy, legal).mean()
        value_loss = jnp.mean((module.value(codes, goals) - samples.returns) ** 2)
        loss = policy_loss + self.config.value_weight * value_loss
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def policy_error(
    logits: Float[Array, "*B A"], preferred: Float[Array, "*B A"], legal: Bool[Array, "*B A"]
) -> Float[Array, "*B"]:
    """Returns the cross-entropy of a policy with what a search preferred."""
    log_probs = jnp.where(legal, log_proposals(logits, legal), 0.0)
    return -jnp.where(legal, preferred * log_probs, 0.0).sum(axis=-1)
