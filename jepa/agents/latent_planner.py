"""The method of this project: a JEPA world model, a cost on its latents, and a search over predicted latents."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jepa.actors.base import Actor, ActorModule, proposals
from jepa.actors.learning import ActorLearning, ActorStage
from jepa.agents.base import Agent, Params, PlanFunction
from jepa.costs.base import CostModule
from jepa.costs.learning import CostLearning, CostStage
from jepa.encoders.base import EncoderModule
from jepa.envs.base import Env, GoalKind
from jepa.hindsight import GoalRules
from jepa.latents import goal_difference
from jepa.planners.base import Planner, PlanningModel
from jepa.planners.beam_search import BeamSearch
from jepa.training import Schedule, Stage, WorldModelStage
from jepa.types import Plan, Problem, Trajectories
from jepa.world_model import WorldModel, WorldModelModule

LatentCost = Callable[[Float[Array, "*#B D"], Float[Array, "*#B D"]], Float[Array, "*B"]]
"""Latents and goals to costs to go."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldModelAgent(Agent):
    """A method whose first stage is our world model, whatever it then learns on its frozen latents.

    Two of them with the same world model train the same first stage, so one may take it over from the other.
    """

    world_model: WorldModel = WorldModel()
    """Stage one: encoder, predictor and their objectives."""
    world_model_training: Schedule = Schedule(num_updates=800, learning_rate=2e-3)
    """How long and how fast stage one learns."""

    def world_model_stage(
        self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh
    ) -> tuple[WorldModelStage, Key[Array, ""]]:
        """Returns stage one, and the key of what follows; all that stage one depends on are the fields of this class.

        Args:
          env: the domain.
          trajectories: recorded moves.
          key: that of `stages`.
          mesh: the devices.
        """
        world_model_key, rest = jax.random.split(key)
        return (
            WorldModelStage(self.world_model, self.world_model_training, env, trajectories, world_model_key, mesh),
            rest,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentPlanner(WorldModelAgent):
    """Learns from recorded moves without rewards, then thinks: start and goal are encoded, all else is latent."""

    cost: CostLearning = CostLearning()
    """Stage two: the cost to go, learned on imagined walks."""
    cost_training: Schedule = Schedule(num_updates=4000, learning_rate=2e-3)
    """How long and how fast stage two learns; its batch counts states."""
    actor: ActorLearning | None = None
    """Stage three, for planners that ask it: an actor that proposes actions."""
    planner: Planner = BeamSearch()
    """The search over predicted latents."""

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class: the world model, then the cost, then perhaps the actor.

        Raises:
          ValueError: an actor is to learn backwards where moves do not lead back, or goals leave something open.
        """
        world_model, cost_key = self.world_model_stage(env, trajectories, key, mesh)
        rules = GoalRules(
            is_reversible=env.is_reversible,
            hindsight_mask=None if env.goal_kind is GoalKind.STATE else env.hindsight_mask,
        )
        cost = CostStage(self.cost, self.cost_training, world_model, trajectories, rules, cost_key, mesh)
        if self.actor is None:
            return [world_model, cost]
        if not self.actor.forward and (not rules.is_reversible or rules.hindsight_mask is not None):
            raise ValueError(
                f"an actor learns which action leads back, which needs moves that can be undone and goals that are "
                f"full states; {env.name} does not have both. Let it learn forwards, `ActorLearning(forward=True)`"
            )
        actor_key = jax.random.fold_in(key, 2)
        actor = ActorStage(self.actor, world_model, trajectories, env.num_actions, rules, actor_key, mesh)
        return [world_model, cost, actor]

    def plan_function(self, env: Env) -> PlanFunction:
        """See base class; only start and goal pass from the environment to the planner, as latents.

        Raises:
          ValueError: goals of the domain are partial states, and the encoder does not keep one slot per token.
        """
        check_goals(self.world_model, env)

        def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
            return self.planner.plan(*self.planning_inputs(env, params, problems), key)

        return plan

    def planning_inputs(
        self, env: Env, params: Params, problems: Problem
    ) -> tuple[PlanningModel, Float[Array, "B D"], Float[Array, "B K D"]]:
        """Returns all that a planner is given of B problems: the trained model, start latents and goal latents."""
        world_model, cost = self.modules(env, params)
        goals = world_model.encode_goal(jax.vmap(env.goal_alternatives)(jax.tree.map(jnp.asarray, problems.goal)))
        model = planning_model(world_model, cost, self.actor_module(env, params))
        return model, world_model.encode(jnp.asarray(problems.start)), goals

    def modules(self, env: Env, params: Params) -> tuple[WorldModelModule, CostModule]:
        """Returns the trained world model and cost."""
        world_model = trained_world_model(self.world_model, env, params)
        sizes = dict(latent_width=world_model.encoder.latent_width, num_slots=world_model.encoder.num_slots)
        head = nnx.eval_shape(lambda: self.cost.head.build(**sizes, rngs=nnx.Rngs(0)))
        return world_model, nnx.merge(nnx.split(head)[0], params[CostStage.name])

    def actor_module(self, env: Env, params: Params) -> ActorModule | None:
        """Returns the trained actor; None where the agent has none."""
        if self.actor is None:
            return None
        encoder = nnx.eval_shape(lambda: self.world_model.build(env, jax.random.key(0))).encoder
        return trained_actor(self.actor.head, encoder, env, params[ActorStage.name])


def check_goals(world_model: WorldModel, env: Env) -> None:
    """Raises ValueError if goals of a domain leave tokens open, and the encoder does not keep one slot per token."""
    num_slots = nnx.eval_shape(lambda: world_model.build(env, jax.random.key(0))).encoder.num_slots
    if env.goal_kind is not GoalKind.STATE and num_slots != env.num_tokens:
        raise ValueError(
            f"a goal of {env.name} is {env.goal_kind.value}: it fixes some tokens and leaves others open, which "
            f"needs an encoder with one slot per token, such as TokenSlotsEncoder; came "
            f"{type(world_model.encoder).__name__}"
        )


def trained_world_model(world_model: WorldModel, env: Env, params: Params) -> WorldModelModule:
    """Returns the world model with its trained parameters."""
    graph = nnx.split(nnx.eval_shape(lambda: world_model.build(env, jax.random.key(0))))[0]
    return nnx.merge(graph, params[WorldModelStage.name])


def trained_actor(head: Actor, encoder: EncoderModule, env: Env, params: Params) -> ActorModule:
    """Returns an actor on latents with its trained parameters."""
    sizes = dict(latent_width=encoder.latent_width, num_slots=encoder.num_slots, num_actions=env.num_actions)
    return nnx.merge(nnx.split(nnx.eval_shape(lambda: head.build(**sizes, rngs=nnx.Rngs(0))))[0], params)


def planning_model(
    world_model: WorldModelModule, cost: CostModule | LatentCost, actor: ActorModule | None = None
) -> PlanningModel:
    """Returns what a planner may know; goals are latents [B, K, D] of K alternatives, of which the nearest counts."""

    def propose(latents: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C A"]:
        legal = world_model.legal_actions(latents.reshape(-1, latents.shape[-1])).reshape(*latents.shape[:2], -1)
        return proposals(actor, latents, goals, legal)

    return PlanningModel(
        predict_all=world_model.predict_all,
        predict=world_model.predict,
        legal_actions=world_model.legal_actions,
        cost=lambda latents, goals: cost(latents[:, :, None], goals[:, None]).min(axis=-1),
        goal_difference=lambda latents, goals: goal_difference(latents, goals, world_model.encoder.num_slots),
        shares_predictions=world_model.predictor.shares_actions,
        propose=None if actor is None else propose,
    )
