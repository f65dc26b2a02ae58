"""Deep Q-learning with hindsight goals, offline: how many moves are left after each action?"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key

from jepa.actors.base import Actor, ActorModule, log_proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network
from jepa.agents.guided_search import Guide, GuidedSearch
from jepa.agents.offline import GoalSampling, HindsightBatch, OfflineStage, rebuilt, sample_hindsight
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class QLearning(GuidedSearch):
    """Double DQN on moves left: q(s, g, a) towards 1 + min_a' q(s', g, a'), 1 at the goal, never above `max_cost`.

    The reward is -1 for every move until the goal, undiscounted and capped, so that values are distances. It proposes
    the action of least moves left, softly, and its cost is that number.

    Source: DQN (Mnih et al., 2015), double DQN (van Hasselt et al., 2016), hindsight (Andrychowicz et al., 2017).
    """

    network: Actor = ResidualMLPActor()
    """The network, with one output per action."""
    goals: GoalSampling = GoalSampling()
    """Which goals a move is relabelled with."""
    max_cost: float = 50.0
    """Largest number of moves left that is told apart."""
    target_rate: float = 0.005
    """Share of the network that flows into its target after every update."""
    temperature: float = 0.2
    """Moves of difference at which one action is proposed e times as often as another."""
    training: Schedule = Schedule(num_updates=20_000, batch_size=512, learning_rate=5e-4)
    """How long and how fast it learns."""
    planner: Planner = ProposalSearch(width=1, horizon=40)
    """How the policy is followed; a search such as `BeamSearch` goes by the cost."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "max_cost", "target_rate", "temperature")

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class."""
        return [_QStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        network = rebuilt(lambda rngs: policy_network(self.network, env, rngs), params[_QStage.name])

        def moves_left(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C A"]:
            return network(codes[:, :, None], goals[:, None]).min(axis=2)

        return moves_left_guide(moves_left, self.temperature)


class _QStage(OfflineStage):
    name = "q"

    def __init__(self, config: QLearning, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh):
        self.target_rate = config.target_rate
        super().__init__(config, env, trajectories, key, mesh)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return policy_network(self.config.network, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> HindsightBatch:
        return sample_hindsight(self.env, trajectories, self.schedule.batch_size, self.config.goals, key)

    def loss(self, module, target, batch, key):
        return q_loss(module, target, batch, self.config.max_cost)


def moves_left_guide(
    moves_left: Callable[[Float[Array, "B C D"], Float[Array, "B K D"]], Float[Array, "B C A"]], temperature: float
) -> Guide:
    """Returns the guide that the number of moves left after each action is; what is shorter is proposed more often."""

    def propose(
        codes: Float[Array, "B C D"], goals: Float[Array, "B K D"], legal: Bool[Array, "B C A"]
    ) -> Float[Array, "B C A"]:
        return log_proposals(-moves_left(codes, goals) / temperature, legal)

    return Guide(cost=lambda codes, goals: moves_left(codes, goals).min(axis=-1), propose=propose)


def q_loss(
    module: ActorModule, target: ActorModule, batch: HindsightBatch, max_cost: float
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the loss of double DQN: the network chooses the next action, the target says what it is worth."""
    following = jnp.where(batch.legal_after, module(batch.successors, batch.goals), jnp.inf)
    chosen = jax.lax.stop_gradient(following).argmin(axis=-1)[:, None]
    left = jnp.take_along_axis(target(batch.successors, batch.goals), chosen, axis=-1)[:, 0]
    left = jnp.where(batch.legal_after.any(axis=-1), left, max_cost)
    targets = jnp.where(batch.reached, 1.0, 1.0 + jnp.clip(left, 1.0, max_cost - 1))
    predicted = jnp.take_along_axis(module(batch.codes, batch.goals), batch.actions[:, None], axis=-1)[:, 0]
    error = predicted - jax.lax.stop_gradient(targets)
    return optax.huber_loss(error).mean(), {"mean_moves_left": predicted.mean()}
