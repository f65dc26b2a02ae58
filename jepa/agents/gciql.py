"""Goal-conditioned implicit Q-learning: values of the better recorded moves, and a policy that imitates those."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from jepa.actors.base import Actor
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params
from jepa.agents.behaviour_cloning import policy_network, value_network
from jepa.agents.guided_search import Guide, GuidedSearch, moves_of_value, policy_guide
from jepa.agents.offline import GoalSampling, HindsightBatch, OfflineStage, rebuilt, sample_hindsight
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, require_positive

MAX_WEIGHT = 100.0
"""Largest weight with which a move is imitated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GCIQL(GuidedSearch):
    """Three networks that never ask what a move would lead to that nobody made.

        q(s, a, g)  ->  1, or where the move does not reach the goal  1 + discount v(s', g)
        v(s, g)     ->  expectile of q(s, a, g) over the recorded moves a
        policy      =   argmax of  exp(sharpness (v - q)) log pi(a | s, g)

    Costs are discounted moves, so that less is better and the expectile is one from below. Of two q the worse counts.

    Source: IQL (Kostrikov et al., 2022), as GCIQL in OGBench (Park et al., 2025) with its settings for discrete
    actions. There the state itself is a fifth of the goals; here it is the next one, where the first reward is.
    """

    network: Actor = ResidualMLPActor()
    """The policy; values have networks of the same kind."""
    goals: GoalSampling = GoalSampling()
    """Which goals values are learned for."""
    policy_goals: GoalSampling = GoalSampling(next_fraction=0.0, future_fraction=1.0, discount=1.0)
    """Which goals a move is imitated for."""
    discount: float = 0.99
    """What a move later counts less."""
    expectile: float = 0.9
    """How much more a move that was better than expected weighs: 0.5 for the mean of all moves, 1 for the best."""
    sharpness: float = 3.0
    """How much more often a move is imitated that is one discounted move better, as an exponent."""
    target_rate: float = 0.005
    """Share of the networks that flows into their targets after every update."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=1024, learning_rate=3e-4)
    """How long and how fast it learns."""
    planner: Planner = ProposalSearch(width=1, horizon=40)
    """How the policy is followed; a search such as `BeamSearch` goes by the value."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "discount", "sharpness", "target_rate")
        if not 0.5 <= self.expectile < 1:
            raise ValueError(f"GCIQL.expectile must lie between 0.5 and 1; got {self.expectile}")
        if self.discount >= 1:
            raise ValueError(f"GCIQL.discount must be below 1; got {self.discount}")

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class."""
        return [_GCIQLStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        networks = rebuilt(lambda rngs: _Networks(self.network, env, rngs), params[_GCIQLStage.name])

        def cost(codes: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C"]:
            discounted = networks.value(codes[:, :, None], goals[:, None])[..., 0].min(axis=-1)
            return moves_of_value(1 - (1 - self.discount) * discounted, self.discount)

        return dataclasses.replace(policy_guide(networks.policy), cost=cost)


class _Networks(nnx.Module):
    def __init__(self, network: Actor, env: Env, rngs: nnx.Rngs):
        self.policy = policy_network(network, env, rngs)
        self.value = value_network(network, env, rngs)
        self.critics = nnx.List([policy_network(network, env, rngs) for _ in range(2)])

    def worse(
        self, codes: Float[Array, "B D"], goals: Float[Array, "B D"], actions: Int[Array, " B"]
    ) -> Float[Array, " B"]:
        """Returns the larger of the two costs of a move."""
        return jnp.maximum(*(_of_action(critic(codes, goals), actions) for critic in self.critics))


class _GCIQLStage(OfflineStage):
    name = "policy"

    def __init__(self, config: GCIQL, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh):
        self.target_rate = config.target_rate
        super().__init__(config, env, trajectories, key, mesh)

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return _Networks(self.config.network, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> tuple[HindsightBatch, HindsightBatch]:
        # One key draws the same moves twice, each with a goal for the values and one for the policy.
        return tuple(
            sample_hindsight(self.env, trajectories, self.schedule.batch_size, goals, key)
            for goals in (self.config.goals, self.config.policy_goals)
        )

    def loss(self, module, target, batch, key):
        for_values, for_policy = batch
        critic_loss, value_loss = self._value_losses(module, target, for_values)
        policy_loss = self._policy_loss(module, for_policy)
        figures = {"critic_loss": critic_loss, "value_loss": value_loss, "policy_loss": policy_loss}
        return critic_loss + value_loss + policy_loss, figures

    def _value_losses(
        self, module: _Networks, target: _Networks, batch: HindsightBatch
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        discount, pair = self.config.discount, (batch.codes, batch.goals)
        never = 1 / (1 - discount)
        left = jnp.clip(module.value(batch.successors, batch.goals)[:, 0], 0.0, never)
        left = jnp.where(batch.legal_after.any(axis=-1), left, never)
        targets = jax.lax.stop_gradient(jnp.where(batch.reached, 1.0, 1.0 + discount * left))
        critic_loss = sum(
            jnp.mean((_of_action(critic(*pair), batch.actions) - targets) ** 2) for critic in module.critics
        )
        cheaper = module.value(*pair)[:, 0] - jax.lax.stop_gradient(target.worse(*pair, batch.actions))
        return critic_loss, expectile_loss(cheaper, self.config.expectile).mean()

    def _policy_loss(self, module: _Networks, batch: HindsightBatch) -> Float[Array, ""]:
        pair = (batch.codes, batch.goals)
        cheaper = module.value(*pair)[:, 0] - module.worse(*pair, batch.actions)
        weights = jnp.minimum(jnp.exp(self.config.sharpness * cheaper), MAX_WEIGHT)
        errors = optax.softmax_cross_entropy_with_integer_labels(module.policy(*pair), batch.actions)
        return jnp.mean(jax.lax.stop_gradient(weights) * errors)


def expectile_loss(advantages: Float[Array, "*B"], expectile: float) -> Float[Array, "*B"]:
    """Returns squares, of which those of positive advantages weigh `expectile`, the others what is left to 1."""
    return jnp.where(advantages > 0, expectile, 1 - expectile) * advantages**2


def _of_action(values: Float[Array, "B A"], actions: Int[Array, " B"]) -> Float[Array, " B"]:
    return jnp.take_along_axis(values, actions[:, None], axis=-1)[:, 0]
