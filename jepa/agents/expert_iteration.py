"""Expert iteration: search with the policy, keep the plans that the verifier accepts, imitate them, search better."""

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
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.episodes import EpisodeState, new_episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes, exact_planning_model
from jepa.agents.guided_search import Guide, policy_guide
from jepa.agents.offline import rebuilt
from jepa.agents.online import OnlineAgent
from jepa.agents.replay import Replay, ReplayAgent, ReplayStage, empty_replay
from jepa.envs.base import Env, full_goal
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Goal, Plan, Trajectories, pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertIteration(ReplayAgent, OnlineAgent):
    """Each round poses new problems, searches for plans on the true dynamics, and learns from those that are verified.

    The manner of AlphaProof with a policy alone: no plan of a person is seen, and no reward but the verifier's. What
    share of a round's problems was solved is logged as `solved_problems`: the gain from round to round.

    Source: Anthony et al., 2017; AlphaProof (Google DeepMind, 2024).
    """

    network: Actor = ResidualMLPActor()
    """The policy."""
    practice: ProposalSearch = ProposalSearch(width=16, horizon=20)
    """The search of every round; its nodes are the moves that are counted."""
    num_kept: int = 65_536
    """Newest moves of verified plans that are learned from."""
    training: Schedule = Schedule(
        num_updates=100, batch_size=32_768, learning_rate=1e-3, weight_decay=0.0, updates_per_call=1
    )
    """See base class."""
    planner: Planner = ProposalSearch(width=64, horizon=20)
    """The search on test problems."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        self.check_capacity(self.num_kept, self.moves_searched)

    @property
    def moves_searched(self) -> int:
        """Places in the plans of a round."""
        return self.episodes.num_envs * self.practice.horizon

    @property
    def moves_per_round(self) -> int:
        """See base class: the most nodes that the searches of a round may generate."""
        return self.moves_searched * self.practice.width

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_ExpertStage(self, env, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        return policy_guide(rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_ExpertStage.name]))


@pytree
class _Move:
    """Moves of verified plans."""

    states: Int[Array, "*B N"]
    """States before them."""
    goals: Goal
    """What their plans reached."""
    actions: Int[Array, "*B"]
    """The moves."""


class _ExpertStage(ReplayStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def init_target(self, params: Params) -> Replay:
        tokens = jnp.zeros(self.env.num_tokens, jnp.int32)
        example = _Move(states=tokens, goals=full_goal(tokens), actions=jnp.zeros((), jnp.int32))
        return empty_replay(example, self.config.num_kept)

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        keys = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates), 3)
        problems = new_episodes(self.env, self.config.episodes, keys[0])
        plan = self._search(self.module(state.params), problems, keys[1])
        replay = state.target.keep(*self._moves(problems, plan))
        updated, figures = self.learn(state, replay, replay, keys[2])
        return updated, figures | {
            "solved_problems": plan.claims_solved.mean(),
            "nodes_per_problem": plan.num_nodes_generated.mean(),
        }

    def _search(self, policy: nnx.Module, problems: EpisodeState, key: Key[Array, ""]) -> Plan:
        """Searches for plans; on the true dynamics what reaches the goal is a plan that the verifier accepts."""
        goals = self.config.episodes.search_goals(self.env, problems.goals)
        model = exact_planning_model(
            self.env,
            cost=lambda codes, goals: jnp.zeros(codes.shape[:2]),
            propose=lambda codes, goals, legal: proposals(policy, codes, goals, legal),
        )
        start = exact_codes(self.env, problems.states)
        return self.config.practice.plan(model, start, goals, key)

    def _moves(self, problems: EpisodeState, plan: Plan) -> tuple[_Move, Bool[Array, " S"]]:
        """Returns the moves of all plans, and which of them are of plans that reached their goals."""

        def replay(states, actions):
            following = jax.vmap(self.env.step)(states, jnp.maximum(actions, 0))
            return jnp.where((actions >= 0)[:, None], following, states), states

        _, states = jax.lax.scan(replay, problems.states, plan.actions.T)
        goals = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(states), *leaf.shape)), problems.goals)
        moves = _Move(states=states, goals=goals, actions=plan.actions.T)
        is_right = plan.claims_solved[:, None] & (plan.actions >= 0)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), moves), is_right.T.reshape(-1)

    def loss(self, params: dict, samples: _Move) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        legal = jax.vmap(self.env.legal_actions)(samples.states)
        codes, goals = exact_codes(self.env, samples.states), exact_goal_codes(self.env, samples.goals)
        log_probs = log_proposals(self.module(params)(codes, goals), legal)
        return -jnp.take_along_axis(log_probs, samples.actions[:, None], axis=1).mean(), {}
