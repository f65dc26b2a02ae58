"""The floor of a search: networks of random weights guide it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jepa.actors.base import Actor
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.guided_search import Guide, GuidedSearch, policy_guide
from jepa.agents.offline import rebuilt
from jepa.agents.ppo import ActorCritic
from jepa.envs.base import Env
from jepa.mesh import replicate
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import ModuleStage, Schedule, Stage, TrainState
from jepa.types import Trajectories


@dataclasses.dataclass(frozen=True, kw_only=True)
class UntrainedNetworks(GuidedSearch):
    """Policy and value as their weights were drawn: what the search on the true dynamics solves by itself.

    A search holds no state twice and takes no illegal action, so that it solves more than as many random plans. What a
    baseline has learned is what it solves beyond this. The ledger's one gradient sample is that of an update that
    changes nothing.
    """

    network: Actor = ResidualMLPActor()
    """The policy; the value has a network of the same kind."""
    planner: Planner = ProposalSearch(width=64, horizon=20)
    """The search; by proposals it goes by the policy, as a beam by the value."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class; the recorded moves are not looked at."""
        return [_UntrainedStage(lambda: ActorCritic(self.network, env, nnx.Rngs(key)), mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        module = rebuilt(lambda rngs: ActorCritic(self.network, env, rngs), params[_UntrainedStage.name])

        def cost(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C"]:
            return module.value(codes[:, :, None], goals[:, None]).min(axis=-1)

        return dataclasses.replace(policy_guide(module.policy), cost=cost)


class _UntrainedStage(ModuleStage):
    """Draws the weights, and makes the one update that every stage has, which changes nothing."""

    name = "untrained"

    def __init__(self, build: Any, mesh: Mesh):
        super().__init__(build, Schedule(num_updates=1, batch_size=1, updates_per_call=1), mesh)

    def resources(self, params: Any) -> Any:
        """See base class: nothing."""
        return replicate((), self.mesh)

    def prepare(self, state: TrainState, resources: Any) -> Any:
        """See base class: nothing."""
        return resources

    def update(self, state: TrainState, data: Any) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class: counts."""
        return dataclasses.replace(state, num_updates=state.num_updates + 1), {"loss": jnp.zeros(())}

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        """See base class: nothing."""
        return {}
