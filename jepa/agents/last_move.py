"""Last-move policy: guess how a walk from the goal came in, and search back along the most probable guesses."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, log_proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.exact_model import exact_codes
from jepa.agents.guided_search import Guide, GuidedSearch, policy_guide
from jepa.agents.offline import OfflineStage, rebuilt
from jepa.envs.base import Env, GoalKind
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class LastMovePolicy(GuidedSearch):
    """Cross-entropy of the actions that undo the last move of a recorded walk, and a beam on their log-probabilities.

    It is given the true dynamics to see which action undoes which and to search. Walks must begin at the goal.

    Source: EfficientCube (Takano, 2023).
    """

    network: Actor = ResidualMLPActor()
    """The policy."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=1024, learning_rate=1e-3)
    """How long and how fast it learns."""
    planner: Planner = ProposalSearch(width=64, horizon=40)
    """The search on the true dynamics."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class.

        Raises:
          ValueError: moves do not lead back, or goals leave something open.
        """
        require_way_back(env, type(self).__name__)
        return [_LastMoveStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        network = rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_LastMoveStage.name])
        return policy_guide(network)


def require_way_back(env: Env, method: str) -> None:
    """Raises ValueError where walks cannot be read backwards from a full state."""
    if not env.is_reversible or env.goal_kind is not GoalKind.STATE:
        raise ValueError(
            f"{method} reads walks backwards, which needs moves that can be undone and goals that are full states; "
            f"{env.name} does not have both"
        )


@pytree
class _Batch:
    codes: Float[Array, "B D"]
    """States of walks."""
    origins: Float[Array, "B D"]
    """Where the walks began."""
    legal_actions: Bool[Array, "B A"]
    """Legal actions of the states."""
    undoing: Bool[Array, "B A"]
    """Those that lead to the state before."""


class _LastMoveStage(OfflineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> _Batch:
        env, (num_walks, length) = self.env, trajectories.actions.shape
        walk_key, time_key = jax.random.split(key)
        walks = jax.random.randint(walk_key, (self.schedule.batch_size,), 0, num_walks)
        times = jax.random.randint(time_key, (self.schedule.batch_size,), 1, length + 1)
        states, previous = trajectories.states[walks, times], trajectories.states[walks, times - 1]
        successors = jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))(
            states, jnp.arange(env.num_actions)
        )
        legal = trajectories.legal_actions[walks, times]
        return _Batch(
            codes=exact_codes(env, states),
            origins=exact_codes(env, trajectories.states[walks, 0]),
            legal_actions=legal,
            undoing=(successors == previous[:, None]).all(axis=-1) & legal,
        )

    def loss(self, module, target, batch, key):
        log_probs = log_proposals(module(batch.codes, batch.origins), batch.legal_actions)
        share = batch.undoing / jnp.maximum(batch.undoing.sum(axis=-1, keepdims=True), 1)
        loss = -jnp.where(batch.undoing, share * log_probs, 0.0).sum(axis=-1).mean()
        right = jnp.take_along_axis(batch.undoing, log_probs.argmax(axis=-1)[:, None], axis=-1)
        return loss, {"accuracy": right.mean()}
