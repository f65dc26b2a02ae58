"""An optional stage: learn which action leads back along walks that the frozen world model imagines.

An imagined walk leads away from where it began. Which action was taken last is hidden from the actor, and which one
takes it back is what it learns to say:

    minimise  - log p(a | z_t, g)   over  a with predict(z_t, a) = z_(t-1),   g = z_u for some u < t

Over many walks p(a | z, g) is the share of walks from g to z that came in by undoing a, so its logarithm ranks the
successors of one state finely, where a regressed distance must tell 40 from 41 steps under the noise of the walks.
Actions are recognised by their predicted latents alone; nobody tells the actor which action undoes which.

Source: the last move of a scramble as the label (EfficientCube, Takano, 2023), here on imagined latents and for any
earlier state as the goal.
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
from jepa.costs.imagination import Imagination, imagine_walks
from jepa.latents import worst_slot_difference
from jepa.mesh import check_divisible, shard_batch
from jepa.training import FrozenWorldModelStage, Schedule, TrainState, WorldModelStage
from jepa.types import Trajectories, pytree

_NUM_DIAGNOSED = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorLearning:
    """The actor, and where its data come from."""

    head: Actor = ResidualMLPActor()
    """The module that is trained."""
    imagination: Imagination = Imagination(num_walks=512)
    """The walks it is trained on; every state is used once per call if they have as many as the call's updates take."""
    origin_fraction: float = 0.5
    """Share of the states whose goal is where the recorded walk began; for the others it is an earlier state of the
    walk. 1 gives everything to that one goal, for domains of which it is the only one."""
    schedule: Schedule = Schedule(num_updates=4000, batch_size=1024, learning_rate=2e-3)
    """How long and how fast it learns; the batch counts states."""

    def __post_init__(self):
        """Refuses a share that is none."""
        if not 0 <= self.origin_fraction <= 1:
            raise ValueError(f"ActorLearning.origin_fraction must lie between 0 and 1; got {self.origin_fraction}")


@pytree
class ActorData:
    """Imagined walks, and which actions lead back along them."""

    latents: Float[Array, "B T D"]
    """Latents along each walk."""
    undoing: Bool[Array, "B T A"]
    """Legal actions that lead to the state before; none in the first state."""
    legal_actions: Bool[Array, "B T A"]
    """Which actions are predicted to be legal."""
    origins: Float[Array, "B D"]
    """The first state of the recorded walk that the imagined one continues."""
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
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(config.schedule.batch_size, mesh)
        check_divisible(config.imagination.num_walks, mesh)
        init_key, self.update_key = jax.random.split(key)
        sizes = dict(latent_width=world_model.latent_width, num_slots=world_model.num_slots, num_actions=num_actions)
        build = lambda: config.head.build(**sizes, rngs=nnx.Rngs(init_key))  # noqa: E731
        super().__init__(build, config.schedule, world_model, trajectories, mesh)
        self.config = config

    def prepare(self, state: TrainState, resources: Any) -> ActorData:
        """See base class: walks imagined for this call."""
        world_model_params, trajectories = resources
        world_model = self.world_model.module(world_model_params)
        key = jax.random.fold_in(jax.random.fold_in(self.update_key, 0), state.num_updates)
        walk_key, order_key = jax.random.split(key)
        walks = shard_batch(imagine_walks(world_model, trajectories, self.config.imagination, walk_key), self.mesh)
        num_walks, num_states, _ = walks.latents.shape
        return ActorData(
            latents=walks.latents,
            undoing=walks.undoing & walks.legal_actions,
            legal_actions=walks.legal_actions,
            origins=walks.goals,
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
        earlier = jax.random.randint(goal_key, (batch_size,), 0, times)
        is_origin = jax.random.uniform(origin_key, (batch_size, 1)) < self.config.origin_fraction
        goals = jnp.where(is_origin, data.origins[walks], data.latents[walks, earlier])
        latents, goals = shard_batch((data.latents[walks, times], goals), self.mesh)
        undoing, legal = data.undoing[walks, times], data.legal_actions[walks, times]

        def loss(params):
            log_probs = log_proposals(self.module(params)(latents, goals), legal)
            known = undoing.any(axis=-1)
            share = undoing / jnp.maximum(undoing.sum(axis=-1, keepdims=True), 1)
            cross_entropy = -jnp.sum(jnp.where(undoing, share * log_probs, 0.0), axis=-1)
            right = jnp.take_along_axis(undoing, log_probs.argmax(axis=-1)[:, None], axis=-1)[:, 0]
            value = jnp.sum(cross_entropy) / jnp.maximum(known.sum(), 1)
            accuracy = jnp.sum(right) / jnp.maximum(known.sum(), 1)
            return value, {"loss": value, "accuracy": accuracy, "undone_fraction": known.mean()}

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        return self.apply_gradients(state, gradients, ()), losses

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        """See base class: how often the actor finds the way back along recorded walks, of which it saw none."""
        world_model_params, trajectories = resources
        world_model, actor = self.world_model.module(world_model_params), self.module(state.params)
        length = self.config.imagination.walk_length
        latents = world_model.encode(trajectories.states[:_NUM_DIAGNOSED, : length + 1])
        previous, origins, latents = latents[:, :-1], latents[:, :1], latents[:, 1:]
        flat = latents.reshape(-1, latents.shape[-1])
        successors = world_model.predict_all(flat).reshape(*latents.shape[:-1], -1, latents.shape[-1])
        differences = worst_slot_difference(successors, previous[:, :, None], world_model.encoder.num_slots)
        legal = trajectories.legal_actions[:_NUM_DIAGNOSED, 1 : length + 1]
        undoing = (differences < self.config.imagination.same_state_tolerance) & legal
        proposed = log_proposals(actor(latents, origins), legal).argmax(axis=-1)
        right = jnp.take_along_axis(undoing, proposed[..., None], axis=-1)
        return {"recorded_accuracy": right.sum() / jnp.maximum(undoing.any(axis=-1).sum(), 1)}
