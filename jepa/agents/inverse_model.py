"""An inverse model as a policy: which action leads from a latent towards a later one? No cost, and no planning needed.

What our method is without its search: the same frozen world model, the same recorded moves, and a policy instead.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jepa.actors.base import Actor
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Params, PlanFunction
from jepa.agents.latent_planner import (
    WorldModelAgent,
    check_goals,
    planning_model,
    trained_actor,
    trained_world_model,
)
from jepa.agents.offline import GoalSampling, draw_hindsight
from jepa.envs.base import Env
from jepa.mesh import check_divisible, shard_batch
from jepa.planners.base import Planner
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import FrozenWorldModelStage, Schedule, Stage, TrainState, WorldModelStage
from jepa.types import Plan, Problem, Trajectories


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseModelPolicy(WorldModelAgent):
    """max log p(a_t | z_t, z_(t+k)), k drawn, on the frozen latents of the world model; then it acts on imagined ones.

    Source: goal-conditioned inverse dynamics, that is GCBC (Ghosh et al., 2021) with latents for states.
    """

    head: Actor = ResidualMLPActor()
    """Stage two: the policy."""
    goals: GoalSampling = GoalSampling(next_fraction=0.0, future_fraction=1.0, discount=1.0)
    """How far ahead the later latent lies."""
    policy_training: Schedule = Schedule(num_updates=10_000, batch_size=1024, learning_rate=3e-4)
    """How long and how fast stage two learns."""
    planner: Planner = ProposalSearch(width=1, horizon=40)
    """How the policy is followed over predicted latents; a wider search goes through its proposals."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class: the world model, then the policy."""
        world_model, policy_key = self.world_model_stage(env, trajectories, key, mesh)
        return [world_model, _InverseModelStage(self, world_model, env, trajectories, policy_key, mesh)]

    def plan_function(self, env: Env) -> PlanFunction:
        """See base class; only start and goal pass from the environment to the planner, as latents.

        Raises:
          ValueError: goals of the domain are partial states, and the encoder does not keep one slot per token.
        """
        check_goals(self.world_model, env)

        def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
            world_model = trained_world_model(self.world_model, env, params)
            policy = trained_actor(self.head, world_model.encoder, env, params[_InverseModelStage.name])
            goals = world_model.encode_goal(jax.vmap(env.goal_alternatives)(problems.goal))
            model = planning_model(world_model, _no_cost, policy)
            return self.planner.plan(model, world_model.encode(problems.start), goals, key)

        return plan


class _InverseModelStage(FrozenWorldModelStage):
    name = "policy"

    def __init__(
        self,
        config: InverseModelPolicy,
        world_model: WorldModelStage,
        env: Env,
        trajectories: Trajectories,
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(config.policy_training.batch_size, mesh)
        self.config, self.env = config, env
        init_key, self.update_key = jax.random.split(key)
        sizes = dict(latent_width=world_model.latent_width, num_slots=world_model.num_slots)
        build = lambda: config.head.build(**sizes, num_actions=env.num_actions, rngs=nnx.Rngs(init_key))  # noqa: E731
        super().__init__(build, config.policy_training, world_model, trajectories, mesh)

    def prepare(self, state: TrainState, resources: Any) -> Any:
        return resources

    def update(self, state: TrainState, data: Any) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        world_model_params, trajectories = data
        world_model = self.world_model.module(world_model_params)
        key = jax.random.fold_in(self.update_key, state.num_updates)
        moves = draw_hindsight(self.env, trajectories, self.schedule.batch_size, self.config.goals, key)
        pair = (world_model.encode(moves.states), world_model.encode_goal(moves.goals))
        (latents, goals), actions = shard_batch((pair, moves.actions), self.mesh)

        def loss(params):
            logits = self.module(params)(latents, goals)
            value = optax.softmax_cross_entropy_with_integer_labels(logits, actions).mean()
            return value, {"loss": value, "accuracy": jnp.mean(logits.argmax(axis=-1) == actions)}

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        return self.apply_gradients(state, gradients, ()), losses

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        return {}


def _no_cost(latents: Float[Array, "*#B D"], goals: Float[Array, "*#B D"]) -> Float[Array, "*B"]:
    return jnp.zeros(jnp.broadcast_shapes(latents.shape, goals.shape)[:-1])
