"""Walk-length regression: how many moves did the walk make from the goal to here? Then a beam on the guess."""

import dataclasses
from collections.abc import Sequence

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from jepa.agents.base import Params
from jepa.agents.exact_model import exact_codes
from jepa.agents.guided_search import Guide, GuidedSearch, cost_guide
from jepa.agents.last_move import require_way_back
from jepa.agents.offline import OfflineStage, rebuilt
from jepa.costs.base import Cost
from jepa.costs.pairwise import PairwiseCost
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, pytree


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkLengthRegression(GuidedSearch):
    """min (h(s_t, s_0) - t)^2 over states of recorded walks, and a beam on h over the true dynamics.

    No bootstrapping and no target network: the mean length of walks to a state grows with its distance, and that is
    enough for a beam. Walks must begin at the goal.

    Source: CayleyPy (Chervov et al., 2025).
    """

    head: Cost = PairwiseCost(hidden_width=512)
    """The regression."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=1024, learning_rate=1e-3)
    """How long and how fast it learns."""
    planner: Planner = BeamSearch(width=64, horizon=40)
    """The search on the true dynamics."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class.

        Raises:
          ValueError: moves do not lead back, or goals leave something open.
        """
        require_way_back(env, type(self).__name__)
        return [_RegressionStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        head = rebuilt(lambda rngs: cost_network(self.head, env, rngs), params[_RegressionStage.name])
        return cost_guide(head)


def cost_network(head: Cost, env: Env, rngs: nnx.Rngs) -> nnx.Module:
    """Returns a network from codes of a state and a goal to a cost."""
    return head.build(latent_width=env.num_tokens * env.vocab_size, num_slots=env.num_tokens, rngs=rngs)


@pytree
class _Batch:
    codes: Float[Array, "B D"]
    """States of walks."""
    origins: Float[Array, "B D"]
    """Where the walks began."""
    elapsed: Int[Array, " B"]
    """Moves from there."""


class _RegressionStage(OfflineStage):
    name = "cost"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return cost_network(self.config.head, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> _Batch:
        num_walks, length = trajectories.actions.shape
        walk_key, time_key = jax.random.split(key)
        walks = jax.random.randint(walk_key, (self.schedule.batch_size,), 0, num_walks)
        times = jax.random.randint(time_key, (self.schedule.batch_size,), 0, length + 1)
        return _Batch(
            codes=exact_codes(self.env, trajectories.states[walks, times]),
            origins=exact_codes(self.env, trajectories.states[walks, 0]),
            elapsed=times,
        )

    def loss(self, module, target, batch, key):
        return ((module(batch.codes, batch.origins) - batch.elapsed) ** 2).mean(), {}
