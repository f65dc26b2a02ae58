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
from jepa.agents.online import OnlineStage, ReplayAgent
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage, TrainState
from jepa.types import Goal, Plan, Trajectories, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertIteration(ReplayAgent):
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
        require_positive(self, "num_kept", "steps_per_round", "samples_per_step")
        if self.num_kept < self.moves_searched:
            raise ValueError(
                f"ExpertIteration.num_kept must hold the {self.moves_searched} moves of a round; got {self.num_kept}"
            )

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
class _Kept:
    """Moves of verified plans, the oldest overwritten."""

    states: Int[Array, "M N"]
    """States before them."""
    goals: Goal
    """What their plans reached."""
    actions: Int[Array, " M"]
    """The moves."""
    count: Int[Array, ""]
    """Moves ever kept."""


class _ExpertStage(OnlineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def init_target(self, params: Params) -> _Kept:
        count, tokens = self.config.num_kept, self.env.num_tokens
        return _Kept(
            states=jnp.zeros((count, tokens), jnp.int32),
            goals=Goal(tokens=jnp.zeros((count, tokens), jnp.int32), mask=jnp.zeros((count, tokens), bool)),
            actions=jnp.zeros(count, jnp.int32),
            count=jnp.zeros((), jnp.int32),
        )

    def update(self, state: TrainState, data: tuple) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        keys = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates), 3)
        problems = new_episodes(self.env, self.config.episodes, keys[0])
        plan = self._search(self.module(state.params), problems, keys[1])
        kept = self._keep(state.target, problems, plan)
        available = jnp.minimum(kept.count, self.config.num_kept)
        shape = (self.config.steps_per_round, self.config.samples_per_step)
        chosen = jax.random.randint(keys[2], shape, 0, jnp.maximum(available, 1))
        params, _, opt_state, figures = self.descend(
            state, lambda params, _, chosen: self._loss(params, kept, chosen, available > 0), chosen
        )
        figures |= {
            "solved_problems": plan.claims_solved.mean(),
            "nodes_per_problem": plan.num_nodes_generated.mean(),
        }
        return TrainState(params=params, target=kept, opt_state=opt_state, num_updates=state.num_updates + 1), figures

    def _search(self, policy: nnx.Module, problems: EpisodeState, key: Key[Array, ""]) -> Plan:
        """Searches for plans; on the true dynamics what reaches the goal is a plan that the verifier accepts."""
        goals = exact_goal_codes(self.env, problems.goals)[:, None]
        model = exact_planning_model(
            self.env,
            cost=lambda codes, goals: jnp.zeros(codes.shape[:2]),
            propose=lambda codes, goals, legal: proposals(policy, codes, goals, legal),
        )
        start = exact_codes(self.env, problems.states)
        return self.config.practice.plan(model, start, {"codes": goals, "given": goals}, key)

    def _keep(self, kept: _Kept, problems: EpisodeState, plan: Plan) -> _Kept:
        """Returns what is kept after the moves of the plans that reached their goals."""

        def replay(states, actions):
            following = jax.vmap(self.env.step)(states, jnp.maximum(actions, 0))
            return jnp.where((actions >= 0)[:, None], following, states), states

        _, states = jax.lax.scan(replay, problems.states, plan.actions.T)
        valid = (plan.claims_solved[:, None] & (plan.actions >= 0)).T.reshape(-1)
        order = jnp.cumsum(valid) - 1
        capacity = self.config.num_kept
        places = jnp.where(valid, (kept.count + order) % capacity, capacity)
        horizon = len(states)

        def put(old: Array, new: Array) -> Array:
            return old.at[places].set(new.reshape(-1, *old.shape[1:]), mode="drop")

        def along(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (horizon, *leaf.shape))

        return _Kept(
            states=put(kept.states, states),
            goals=jax.tree.map(lambda old, new: put(old, along(new)), kept.goals, problems.goals),
            actions=put(kept.actions, plan.actions.T),
            count=kept.count + valid.sum(),
        )

    def _loss(
        self, params: dict, kept: _Kept, chosen: Int[Array, " B"], is_anything: Bool[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Returns the loss of imitating moves that are kept; as long as there are none, it is 0."""
        states, goals = kept.states[chosen], jax.tree.map(lambda leaf: leaf[chosen], kept.goals)
        legal = jax.vmap(self.env.legal_actions)(states)
        logits = self.module(params)(exact_codes(self.env, states), exact_goal_codes(self.env, goals))
        log_probs = log_proposals(logits, legal)
        taken = jnp.take_along_axis(log_probs, kept.actions[chosen][:, None], axis=1)
        return -jnp.where(is_anything, taken, 0.0).mean(), {}
