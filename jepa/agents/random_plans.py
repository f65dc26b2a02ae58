"""The floor: random plans on the true dynamics, with as many nodes as the others."""

import dataclasses
from collections.abc import Sequence

from jax.sharding import Mesh
from jaxtyping import Array, Key

from jepa.agents.base import Params
from jepa.agents.guided_search import Guide, GuidedSearch
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.random_shooting import RandomShooting
from jepa.training import Stage
from jepa.types import Trajectories


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomPlans(GuidedSearch):
    """Learns nothing and is led by nothing; a plan counts where one of the random ones happens to reach the goal."""

    planner: Planner = RandomShooting()
    """How many random plans of which length."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class: none."""
        return []

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class: nothing."""
        return Guide()
