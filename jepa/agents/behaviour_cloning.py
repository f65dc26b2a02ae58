"""Goal-conditioned behaviour cloning: imitate the moves of walks, given where the walks went."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jepa.actors.base import Actor, ActorModule
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.guided_search import Guide, GuidedSearch, policy_guide
from jepa.agents.offline import GoalSampling, HindsightBatch, OfflineStage, rebuilt, sample_hindsight
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories


@dataclasses.dataclass(frozen=True, kw_only=True)
class BehaviourCloning(GuidedSearch):
    """max log pi(a_t | s_t, s_t'), t' > t uniformly from the rest of the walk.

    Source: goal-conditioned supervised learning (Ghosh et al., 2021; GCBC in OGBench).
    """

    network: Actor = ResidualMLPActor()
    """The policy."""
    goals: GoalSampling = GoalSampling(next_fraction=0.0, future_fraction=1.0, discount=1.0)
    """Which goals a move is taken to be for."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=1024, learning_rate=3e-4)
    """How long and how fast it learns."""
    planner: Planner = ProposalSearch(width=1, horizon=40)
    """How the policy is followed."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class."""
        return [_CloningStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        network = rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_CloningStage.name])
        return policy_guide(network)


class _CloningStage(OfflineStage):
    name = "policy"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> HindsightBatch:
        return sample_hindsight(self.env, trajectories, self.schedule.batch_size, self.config.goals, key)

    def loss(self, module, target, batch, key):
        logits = module(batch.codes, batch.goals)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.actions).mean()
        return loss, {"accuracy": jnp.mean(logits.argmax(axis=-1) == batch.actions)}


def policy_network(network: Actor, env: Env, rngs: nnx.Rngs) -> ActorModule:
    """Returns a network from codes of a state and a goal to one number for each action."""
    return network.build(
        latent_width=env.num_tokens * env.vocab_size, num_slots=env.num_tokens, num_actions=env.num_actions, rngs=rngs
    )


def value_network(network: Actor, env: Env, rngs: nnx.Rngs) -> ActorModule:
    """Returns a network from codes of a state and a goal to a single number."""
    return network.build(
        latent_width=env.num_tokens * env.vocab_size, num_slots=env.num_tokens, num_actions=1, rngs=rngs
    )
