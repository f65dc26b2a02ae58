"""The method of this project: a JEPA world model, a cost on its latents, and a search over predicted latents."""

import dataclasses
from collections.abc import Sequence

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jepa.agents.base import Agent, Params, PlanFunction
from jepa.costs.base import CostModule
from jepa.costs.learning import CostLearning, CostStage
from jepa.envs.base import Env, GoalKind
from jepa.planners.base import Planner, PlanningModel
from jepa.planners.beam_search import BeamSearch
from jepa.training import Schedule, Stage, WorldModelStage
from jepa.types import Plan, Problem, Trajectories
from jepa.world_model import WorldModel, WorldModelModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentPlanner(Agent):
    """Learns from recorded moves without rewards, then thinks: start and goal are encoded, all else is latent."""

    world_model: WorldModel = WorldModel()
    """Stage one: encoder, predictor and their objectives."""
    world_model_training: Schedule = Schedule(num_updates=800, learning_rate=2e-3)
    """How long and how fast stage one learns."""
    cost: CostLearning = CostLearning()
    """Stage two: the cost to go, learned on imagined walks."""
    cost_training: Schedule = Schedule(num_updates=4000, learning_rate=2e-3)
    """How long and how fast stage two learns; its batch counts states."""
    planner: Planner = BeamSearch()
    """The search over predicted latents."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class: the world model, then the cost."""
        world_model_key, cost_key = jax.random.split(key)
        world_model = WorldModelStage(
            self.world_model, self.world_model_training, env, trajectories, world_model_key, mesh
        )
        cost = CostStage(self.cost, self.cost_training, world_model, trajectories, cost_key, mesh)
        return [world_model, cost]

    def plan_function(self, env: Env) -> PlanFunction:
        """See base class; only start and goal pass from the environment to the planner, as latents.

        Raises:
          ValueError: goals of the domain are not states, so that encoding them is not enough.
        """
        if env.goal_kind is not GoalKind.STATE:
            raise ValueError(
                f"the latent planner encodes a goal that is one full state; a goal of {env.name} is "
                f"{env.goal_kind.value} and needs a goal encoder, which does not exist yet"
            )

        def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
            world_model, cost = self.modules(env, params)
            model = PlanningModel(
                predict_all=world_model.predict_all,
                legal_actions=world_model.legal_actions,
                cost=cost,
                num_slots=world_model.encoder.num_slots,
            )
            start, goal = world_model.encode(problems.start), world_model.encode(problems.goal.tokens)
            return self.planner.plan(model, start, goal, key)

        return plan

    def modules(self, env: Env, params: Params) -> tuple[WorldModelModule, CostModule]:
        """Returns the trained world model and cost."""
        world_model_graph = nnx.split(nnx.eval_shape(lambda: self.world_model.build(env, jax.random.key(0))))[0]
        world_model = nnx.merge(world_model_graph, params[WorldModelStage.name])
        head = nnx.eval_shape(
            lambda: self.cost.head.build(latent_width=world_model.encoder.latent_width, rngs=nnx.Rngs(0))
        )
        return world_model, nnx.merge(nnx.split(head)[0], params[CostStage.name])
