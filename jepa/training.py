"""Training as a pure function of (config, seed, update number): stages that scan updates on a device mesh.

A stage is run in calls of `updates_per_call` updates, each call one compiled function. Batches and random numbers
are folded from the seed and the update number, never carried, so a resumed run continues exactly, and every number
of devices sees the same global batches.
"""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from jepa.envs.base import Env
from jepa.latents import effective_rank, histogram
from jepa.mesh import check_divisible, replicate, shard_batch
from jepa.nonfinite import skip_nonfinite
from jepa.objectives.code_separation import closest_codes
from jepa.types import Trajectories, pytree, require_positive
from jepa.world_model import WorldModel

COLLAPSED_RANK_FRACTION = 0.12
"""Latents whose effective rank is below this share of their width count as collapsed. In our runs healthy latents lay
above 0.25, and latents from which not even the legal actions could be read below 0.11 (docs/model_gap.md)."""
MERGED_CODES = 0.3
"""Codes of two tokens whose mean squared difference is below this count as merged: planners take them for the same."""
_NUM_DIAGNOSED = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a stage learns: AdamW with a linear warm-up and a cosine decay to zero."""

    num_updates: int = 1000
    """Updates of the stage."""
    batch_size: int = 512
    """Samples of one update, over all devices together."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 1e-4
    """Decoupled weight decay."""
    warmup_fraction: float = 0.05
    """Share of the updates in which the learning rate rises."""
    clip_norm: float = 1.0
    """Largest global norm of a gradient."""
    updates_per_call: int = 50
    """Updates in one compiled call, between two looks at losses and the clock."""

    def __post_init__(self):
        """Refuses sizes that cannot be, or with which the last call would be a shorter one."""
        require_positive(self, "num_updates", "batch_size", "learning_rate", "clip_norm", "updates_per_call")
        if self.num_updates % self.updates_per_call:
            raise ValueError(
                f"num_updates must be a multiple of updates_per_call; got {self.num_updates} and "
                f"{self.updates_per_call}. Change one of the two"
            )

    def optimizer(self) -> optax.GradientTransformation:
        """Returns the optimizer, which skips gradients that are not finite."""
        warmup = round(self.warmup_fraction * self.num_updates)
        rate = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, warmup, self.num_updates)
        adamw = optax.adamw(rate, weight_decay=self.weight_decay)
        return skip_nonfinite(optax.chain(optax.clip_by_global_norm(self.clip_norm), adamw))


@pytree
class TrainState:
    """Everything that a stage changes."""

    params: Any
    """Trained parameters."""
    target: Any
    """State of the target network or of the target encoder."""
    opt_state: Any
    """State of the optimizer."""
    num_updates: Int[Array, ""]
    """Updates done."""


class Stage(abc.ABC):
    """One stage of training; `init` and `update` are pure."""

    name: str
    schedule: Schedule
    mesh: Mesh
    transitions_per_update: int = 0
    """Moves that an update makes on the true dynamics; 0 where it learns from recorded ones."""
    verifier_calls_per_update: int = 0
    """How often an update asks the true dynamics whether a goal is reached: what reinforcement learning is rewarded by;
    0 where goals are taken in hindsight or imagined."""
    transitions_before: int = 0
    """Moves that it is shown before the first update, beside those that it makes: an expert's."""

    @abc.abstractmethod
    def init(self) -> TrainState:
        """Returns the state before the first update."""

    @abc.abstractmethod
    def resources(self, params: Mapping[str, Any]) -> Any:
        """Returns what all calls read and none changes: recorded walks, parameters of earlier stages by name."""

    @abc.abstractmethod
    def prepare(self, state: TrainState, resources: Any) -> Any:
        """Returns the data of one call's updates; compiled together with them."""

    @abc.abstractmethod
    def update(self, state: TrainState, data: Any) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """Returns the state after one update, and its losses."""

    @abc.abstractmethod
    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Array]:
        """Returns figures that show whether learning goes wrong; names starting with `alarm_` must stay 0.

        Those with an axis are histograms, counts between `latents.HISTOGRAM_EDGES`.
        """

    def run(self, state: TrainState, params: Mapping[str, Any]) -> Iterator[tuple[TrainState, dict[str, Any]]]:
        """Continues from a state to the end of the stage; yields the state, mean losses and figures after every call.

        The yielded state is consumed by the next call; copy what is to be kept.
        """
        # A call returns its state on every device of the mesh; one that lay elsewhere would be compiled for twice.
        state = replicate(state, self.mesh)
        resources = self.resources(params)
        call = self.compile()
        while int(state.num_updates) < self.schedule.num_updates:
            state, losses = call(state, resources)
            yield state, {name: tuple(x.tolist()) if x.ndim else float(x) for name, x in losses.items()}

    def compile(self) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, Array]]]:
        """Returns the compiled function that does `updates_per_call` updates; it consumes the state."""

        def updates(state: TrainState, resources: Any) -> tuple[TrainState, dict[str, Array]]:
            data = self.prepare(state, resources)
            state, losses = jax.lax.scan(
                lambda carry, _: self.update(carry, data), state, length=self.schedule.updates_per_call
            )
            return state, jax.tree.map(_finite_mean, losses) | self.diagnose(state, resources)

        return jax.jit(updates, donate_argnums=0, out_shardings=NamedSharding(self.mesh, PartitionSpec()))


class ModuleStage(Stage):
    """A stage that trains one module, whose parameters are all that is not in its graph."""

    def __init__(self, build: Callable[[], nnx.Module], schedule: Schedule, mesh: Mesh):
        self.schedule, self.mesh, self._build = schedule, mesh, build
        self.graph = nnx.split(nnx.eval_shape(build))[0]

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """What changes the parameters."""
        return self.schedule.optimizer()

    def init(self) -> TrainState:
        """See base class: fresh parameters, with whatever the stage keeps beside them."""

        @jax.jit  # One program; by themselves, the zeros of every shape would be one each.
        def initial() -> TrainState:
            params = nnx.to_pure_dict(nnx.split(self._build())[1])
            return TrainState(
                params=params,
                target=self.init_target(params),
                opt_state=self.optimizer.init(params),
                num_updates=jnp.zeros((), jnp.int32),
            )

        return initial()

    def init_target(self, params: Any) -> Any:
        """Returns what the stage keeps beside the parameters before the first update: nothing, by default."""
        return ()

    def module(self, params: Any) -> Any:
        """Returns the module with the given parameters."""
        return nnx.merge(self.graph, params)

    def apply_gradients(self, state: TrainState, gradients: Any, target: Any) -> TrainState:
        """Returns the state after an optimizer step with the given gradients and new target state."""
        changes, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        return TrainState(
            params=optax.apply_updates(state.params, changes),
            target=target,
            opt_state=opt_state,
            num_updates=state.num_updates + 1,
        )


class WorldModelStage(ModuleStage):
    """Learns encoder and predictor from recorded moves."""

    name = "world_model"

    def __init__(
        self,
        config: WorldModel,
        schedule: Schedule,
        env: Env,
        trajectories: Trajectories,
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(schedule.batch_size, mesh)
        init_key, self.update_key = jax.random.split(key)
        self.config, self.trajectories = config, trajectories
        super().__init__(lambda: config.build(env, init_key), schedule, mesh)
        module = nnx.eval_shape(self._build)
        self.latent_width, self.num_slots = module.encoder.latent_width, module.encoder.num_slots

    def resources(self, params: Mapping[str, Any]) -> Trajectories:
        """See base class: the recorded walks, on every device."""
        return replicate(self.trajectories, self.mesh)

    def init_target(self, params: Any) -> Any:
        """See base class: the target encoder."""
        return jax.tree.map(jnp.copy, self.config.target.init(params["encoder"]))

    def prepare(self, state: TrainState, resources: Trajectories) -> Trajectories:
        """See base class: the recorded walks, which are the same in every call."""
        return resources

    def update(self, state: TrainState, data: Trajectories) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class."""
        batch_key, loss_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        batch = shard_batch(
            sample_windows(data, self.schedule.batch_size, self.config.prediction.horizon, batch_key), self.mesh
        )

        def loss(params):
            module = self.module(params)
            target_params = self.config.target.params(params["encoder"], state.target)
            target_encoder = self.module(params | {"encoder": target_params}).encoder
            return module.loss(batch, target_encoder, loss_key)

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        target = self.config.target.update(state.params["encoder"], state.target)
        return self.apply_gradients(state, gradients, target), losses

    def diagnose(self, state: TrainState, resources: Trajectories) -> dict[str, Array]:
        """See base class: how far the latents of recorded states have collapsed, the alarm, and their histogram.

        They have if they fill few directions, or if two tokens have become one. Of few walks states before the last are
        looked at, too: latents of fewer states than their width fill few directions, however good they are.
        """
        num_walks, num_times, num_tokens = resources.states.shape
        last_first = resources.states[:, ::-1].swapaxes(0, 1).reshape(num_walks * num_times, num_tokens)
        states = last_first[:_NUM_DIAGNOSED]
        encoder = self.module(state.params).encoder
        latents = encoder(states)
        rank = effective_rank(latents)
        figures = {"effective_rank": rank, "latents": histogram(latents)}
        collapsed = rank < COLLAPSED_RANK_FRACTION * latents.shape[-1]
        if (codes := encoder.slot_codes()) is not None:
            figures["closest_codes"] = closest_codes(codes)
            collapsed |= figures["closest_codes"] < MERGED_CODES
        return figures | {"alarm_collapse": collapsed.astype(jnp.float32)}


class FrozenWorldModelStage(ModuleStage):
    """A stage that learns on a frozen world model, from recorded walks or those that it imagines."""

    def __init__(
        self,
        build: Callable[[], nnx.Module],
        schedule: Schedule,
        world_model: WorldModelStage,
        trajectories: Trajectories,
        mesh: Mesh,
    ):
        self.world_model, self.trajectories = world_model, trajectories
        super().__init__(build, schedule, mesh)

    def resources(self, params: Mapping[str, Any]) -> tuple[Any, Trajectories]:
        """See base class: the frozen world model and the recorded walks, on every device."""
        return replicate((params[self.world_model.name], self.trajectories), self.mesh)


def _finite_mean(values: Float[Array, " U"]) -> Float[Array, ""]:
    """Returns the mean of what is finite: skipped updates say nothing of the others. NaN if nothing is."""
    return values.mean(where=jnp.isfinite(values))


def sample_windows(trajectories: Trajectories, batch_size: int, horizon: int, key: Key[Array, ""]) -> Trajectories:
    """Draws windows of `horizon` consecutive moves, uniformly over walks and positions."""
    num_walks, walk_length = trajectories.actions.shape
    walk_key, time_key = jax.random.split(key)
    walks = jax.random.randint(walk_key, (batch_size, 1), 0, num_walks)
    times = jax.random.randint(time_key, (batch_size, 1), 0, walk_length - horizon + 1) + jnp.arange(horizon + 1)
    return Trajectories(
        states=trajectories.states[walks, times],
        actions=trajectories.actions[walks, times[:, :-1]],
        legal_actions=trajectories.legal_actions[walks, times],
    )
