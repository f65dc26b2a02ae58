"""Quasimetric RL: push all pairs of states apart, but hold every recorded move at length one; then a search."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jepa.agents.base import Params
from jepa.agents.guided_search import Guide, GuidedSearch, cost_guide
from jepa.agents.offline import GoalSampling, HindsightBatch, OfflineStage, rebuilt, sample_hindsight
from jepa.agents.walk_length import cost_network
from jepa.costs.base import Cost
from jepa.costs.quasimetric import QuasimetricCost
from jepa.envs.base import Env, GoalKind
from jepa.planners.base import Planner
from jepa.planners.best_first import BestFirstSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, require_positive

_MULTIPLIER_RATE = 100.0
"""How much faster the multiplier learns than the network: it must rise to tens before moves are as short as asked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuasimetricRL(GuidedSearch):
    """max E d(s, g) over pairs of any states, subject to E relu(d(s, s') - 1)^2 <= eps^2 over recorded moves.

    Under the triangle inequality the largest such d is the distance. The bound is held by a learned multiplier, and
    far pairs are pushed less (softplus).

    Source: QRL (Wang et al., 2023).
    """

    head: Cost = QuasimetricCost()
    """The quasimetric."""
    tolerance: float = 0.05
    """eps, by how much a move may be longer than one."""
    far: float = 30.0
    """Distance beyond which pairs are hardly pushed further apart."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=512, learning_rate=5e-4)
    """How long and how fast it learns."""
    planner: Planner = BestFirstSearch()
    """The search on the true dynamics."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "tolerance", "far")

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class.

        Raises:
          ValueError: goals leave something open, so that they are no points of the space.
        """
        if env.goal_kind is not GoalKind.STATE:
            raise ValueError(
                f"QuasimetricRL embeds goals as it embeds states, so they must be full states; goals of {env.name} are "
                f"{env.goal_kind.value}"
            )
        return [_QuasimetricStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        module = rebuilt(lambda rngs: _Constrained(self, env, rngs), params[_QuasimetricStage.name])
        return cost_guide(module.head)


class _Constrained(nnx.Module):
    """The quasimetric and the multiplier of its bound."""

    def __init__(self, config: QuasimetricRL, env: Env, rngs: nnx.Rngs):
        self.head = cost_network(config.head, env, rngs)
        self.multiplier = nnx.Param(jnp.zeros(()))


class _QuasimetricStage(OfflineStage):
    name = "cost"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return _Constrained(self.config, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> HindsightBatch:
        goals = GoalSampling(next_fraction=0.0, future_fraction=0.0)
        return sample_hindsight(self.env, trajectories, self.schedule.batch_size, goals, key)

    def loss(self, module, target, batch, key):
        head, far = module.head, self.config.far
        pushed = jax.nn.softplus((far - head(batch.codes, batch.goals)) / (0.1 * far)).mean() * 0.1 * far
        moves = head(batch.codes, batch.successors)
        excess = jnp.mean(jax.nn.relu(moves - 1) ** 2) - self.config.tolerance**2
        multiplier = jax.nn.softplus(module.multiplier[...] * _MULTIPLIER_RATE)
        fixed = jax.lax.stop_gradient
        loss = pushed + fixed(multiplier) * excess - multiplier * fixed(excess)
        return loss, {"mean_move": moves.mean(), "excess": excess, "multiplier": multiplier}
