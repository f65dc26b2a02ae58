"""An optional stage: learn which action leads back, or on, along walks that the frozen world model imagines.

An imagined walk leads away from where it began. Which action was taken last is hidden from the actor, and which one
takes it back is what it learns to say:

    minimise  - log p(a | z_t, g)   over  a with predict(z_t, a) = z_(t-1),   g = z_u for some u < t

Over many walks p(a | z, g) is the share of walks from g to z that came in by undoing a, so its logarithm ranks the
successors of one state finely, where a regressed distance must tell 40 from 41 steps under the noise of the walks.
Actions are recognised by their predicted latents alone; nobody tells the actor which action undoes which.

Where moves cannot be undone the same is learned forwards: which action a walk took towards where it went.

    minimise  - log p(a_t | z_t, g)   over  the action taken,   g = what a goal could have asked for of z_u, u > t

p(a | z, g) is then the share of walks from z to g that began with a, the posterior of the random walk given its end.

Source: the last move of a scramble as the label (EfficientCube, Takano, 2023), here on imagined latents and for any
earlier state as the goal; forwards, goal-conditioned supervised learning (Ghosh et al., 2021), on imagined walks.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.actors.base import Actor, log_proposals
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.costs.imagination import Imagination, imagine_forward_walks, imagine_walks
from jepa.hindsight import GoalRules, ReachedGoals, goals_in_hindsight
from jepa.latents import leave_open, worst_slot_difference
from jepa.mesh import check_divisible, shard_batch
from jepa.training import FrozenWorldModelStage, Schedule, TrainState, WorldModelStage
from jepa.types import Trajectories, added_later, pytree

_NUM_DIAGNOSED = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorLearning:
    """The actor, and where its data come from."""

    head: Actor = ResidualMLPActor()
    """The module that is trained."""
    imagination: Imagination = Imagination(num_walks=512)
    """The walks it is trained on; every state is used once per call if they have as many as the call's updates take."""
    origin_fraction: float = 0.5
    """Share of the states whose goal is where the recorded walk began, or, forwards, where the imagined one ends; for
    the others it is any state between. 1 gives everything to that goal, for domains of which it is the only one."""
    forward: bool = added_later(False, before=False)
    """Whether the actor learns which action was taken towards a later state, not which leads back to an earlier one:
    for moves that cannot be undone and goals that leave something open."""
    schedule: Schedule = Schedule(num_updates=4000, batch_size=1024, learning_rate=2e-3)
    """How long and how fast it learns; the batch counts states."""

    def __post_init__(self):
        """Refuses a share that is none."""
        if not 0 <= self.origin_fraction <= 1:
            raise ValueError(f"ActorLearning.origin_fraction must lie between 0 and 1; got {self.origin_fraction}")


@pytree
class ActorData:
    """Imagined walks, and which actions lead along them; forwards, time is turned round, so that goals come first."""

    latents: Float[Array, "B T D"]
    """Latents along each walk."""
    right: Bool[Array, "B T A"]
    """Legal actions that lead to the latent before in this order; none is known in the first one."""
    legal_actions: Bool[Array, "B T A"]
    """Which actions are predicted to be legal."""
    goals: ReachedGoals
    """The latents as goals."""
    origins: Float[Array, "B D"]
    """The first state of the recorded walk that the imagined one continues; forwards, the last one as a goal."""
    order: Int[Array, " B*(T-1)"]
    """In which order the states behind the first of each walk are learned from."""


class ActorStage(FrozenWorldModelStage):
    """Learns the actor on a frozen world model."""

    name = "actor"

    def __init__(
        self,
        config: ActorLearning,
        world_model: WorldModelStage,
        trajectories: Trajectories,
        num_actions: int,
        goal_rules: GoalRules,
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(config.schedule.batch_size, mesh)
        check_divisible(config.imagination.num_walks, mesh)
        init_key, self.update_key = jax.random.split(key)
        sizes = dict(latent_width=world_model.latent_width, num_slots=world_model.num_slots, num_actions=num_actions)
        build = lambda: config.head.build(**sizes, rngs=nnx.Rngs(init_key))  # noqa: E731
        super().__init__(build, config.schedule, world_model, trajectories, mesh)
        self.config, self.goal_rules = config, goal_rules

    def prepare(self, state: TrainState, resources: Any) -> ActorData:
        """See base class: walks imagined for this call."""
        world_model_params, trajectories = resources
        world_model = self.world_model.module(world_model_params)
        key = jax.random.fold_in(jax.random.fold_in(self.update_key, 0), state.num_updates)
        walk_key, order_key = jax.random.split(key)
        imagined = world_model, trajectories, self.config.imagination
        if self.config.forward:
            walks = shard_batch(imagine_forward_walks(*imagined, walk_key), self.mesh)
            taken = walks.actions[..., None] == jnp.arange(walks.legal_actions.shape[-1])
            latents, legal, right = walks.latents[:, ::-1], walks.legal_actions[:, ::-1], taken[:, ::-1]
        else:
            walks = shard_batch(imagine_walks(*imagined, walk_key), self.mesh)
            latents, legal, right = walks.latents, walks.legal_actions, walks.undoing
        goals = goals_in_hindsight(world_model, latents, self.goal_rules, jax.random.fold_in(key, 1))
        num_walks, num_states, _ = latents.shape
        return ActorData(
            latents=latents,
            right=right & legal,
            legal_actions=legal,
            goals=goals,
            origins=goals.latents[:, 0] if self.config.forward else walks.goals,
            order=jax.random.permutation(order_key, num_walks * (num_states - 1)),
        )

    def update(self, state: TrainState, data: ActorData) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class."""
        key = jax.random.fold_in(jax.random.fold_in(self.update_key, 1), state.num_updates)
        goal_key, origin_key = jax.random.split(key)
        batch_size, num_moves = self.schedule.batch_size, data.latents.shape[1] - 1
        # A state that came twice would soon be known by heart.
        first = state.num_updates % self.schedule.updates_per_call * batch_size
        chosen = data.order[(first + jnp.arange(batch_size)) % len(data.order)]
        walks, times = chosen // num_moves, 1 + chosen % num_moves
        is_origin = jax.random.uniform(origin_key, (batch_size,)) < self.config.origin_fraction
        earlier = jax.random.randint(goal_key, (batch_size,), 0, times)
        goals = jnp.where(is_origin[:, None], data.origins[walks], data.goals.latents[walks, earlier])
        goal_times = jnp.where(is_origin & self.config.forward, 0, earlier)
        latents, goals = shard_batch((data.latents[walks, times], goals), self.mesh)
        # Towards what is there already no action is right; a walk that went on says nothing.
        right = data.right[walks, times] & ~data.goals.met_by((walks, times), (walks, goal_times))[..., None]
        legal = data.legal_actions[walks, times]

        def loss(params):
            log_probs = log_proposals(self.module(params)(latents, goals), legal)
            known = right.any(axis=-1)
            share = right / jnp.maximum(right.sum(axis=-1, keepdims=True), 1)
            cross_entropy = -jnp.sum(jnp.where(right, share * log_probs, 0.0), axis=-1)
            hits = jnp.take_along_axis(right, log_probs.argmax(axis=-1)[:, None], axis=-1)[:, 0]
            value = jnp.sum(cross_entropy) / jnp.maximum(known.sum(), 1)
            accuracy = jnp.sum(hits) / jnp.maximum(known.sum(), 1)
            return value, {"loss": value, "accuracy": accuracy, "known_fraction": known.mean()}

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        return self.apply_gradients(state, gradients, ()), losses

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        """See base class: how often the actor finds the way along recorded walks, of which it saw none.

        Back to their beginning, or forwards to their end.
        """
        world_model_params, trajectories = resources
        world_model, actor = self.world_model.module(world_model_params), self.module(state.params)
        right, legal, latents, goals = self._recorded(world_model, jax.tree.map(jnp.asarray, trajectories))
        proposed = log_proposals(actor(latents, goals), legal).argmax(axis=-1)
        hits = jnp.take_along_axis(right, proposed[..., None], axis=-1)
        return {"recorded_accuracy": hits.sum() / jnp.maximum(right.any(axis=-1).sum(), 1)}

    def _recorded(self, world_model: Any, trajectories: Trajectories) -> tuple[Array, Array, Array, Array]:
        """Returns right actions [B, T, A], legal ones, latents [B, T, D] and goals [B, 1, D] of recorded walks."""
        length = self.config.imagination.walk_length
        states = trajectories.states[:_NUM_DIAGNOSED, : length + 1]
        legal = trajectories.legal_actions[:_NUM_DIAGNOSED, : length + 1]
        latents = world_model.encode(states)
        if self.config.forward:
            goals, actions = latents[:, -1:], trajectories.actions[:_NUM_DIAGNOSED, :length]
            if self.goal_rules.hindsight_mask is not None:
                fixed = self.goal_rules.masks(states[:, -1:], self.update_key)
                goals = leave_open(goals, fixed, world_model.encoder.num_slots)
            right = (actions[..., None] == jnp.arange(legal.shape[-1])) & legal[:, :-1]
            return right, legal[:, :-1], latents[:, :-1], goals
        previous, origins, latents, legal = latents[:, :-1], latents[:, :1], latents[:, 1:], legal[:, 1:]
        flat = latents.reshape(-1, latents.shape[-1])
        successors = world_model.predict_all(flat).reshape(*latents.shape[:-1], -1, latents.shape[-1])
        differences = worst_slot_difference(successors, previous[:, :, None], world_model.encoder.num_slots)
        return (differences < self.config.imagination.same_state_tolerance) & legal, legal, latents, origins
