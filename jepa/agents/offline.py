"""What offline baselines share: one stage of updates on recorded moves, and goals in hindsight."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.envs.base import Env, GoalKind, full_goal, matches
from jepa.mesh import check_divisible, replicate, shard_batch
from jepa.training import ModuleStage, TrainState
from jepa.types import Goal, Trajectories, pytree


class OfflineStage(ModuleStage):
    """Learns a module from batches of recorded moves; subclasses say which, from what, and for which loss."""

    target_rate: float = 0.0
    """Share of the parameters that flows into the target network after every update; 0 keeps none."""

    def __init__(self, config: Any, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh):
        check_divisible(config.training.batch_size, mesh)
        self.config, self.env, self.trajectories = config, env, trajectories
        init_key, self.update_key = jax.random.split(key)
        super().__init__(lambda: self.build(nnx.Rngs(init_key)), config.training, mesh)

    @abc.abstractmethod
    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the module with fresh parameters."""

    @abc.abstractmethod
    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> Any:
        """Draws a batch."""

    @abc.abstractmethod
    def loss(
        self, module: Any, target: Any, batch: Any, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Returns the loss of a module, given the target network (itself, without one), and figures to log."""

    def resources(self, params: Mapping[str, Any]) -> Trajectories:
        """See base class: the recorded walks, on every device."""
        return replicate(self.trajectories, self.mesh)

    def init_target(self, params: Any) -> Any:
        """See base class: the target network, where there is one."""
        return jax.tree.map(jnp.copy, params) if self.target_rate else ()

    def prepare(self, state: TrainState, resources: Trajectories) -> Trajectories:
        """See base class: the recorded walks, which are the same in every call."""
        return resources

    def update(self, state: TrainState, data: Trajectories) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class."""
        sample_key, loss_key = jax.random.split(jax.random.fold_in(self.update_key, state.num_updates))
        batch = shard_batch(self.sample(data, sample_key), self.mesh)

        def loss(params):
            module = self.module(params)
            target = self.module(state.target) if self.target_rate else module
            value, figures = self.loss(module, target, batch, loss_key)
            return value, {"loss": value} | figures

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        updated = self.apply_gradients(state, gradients, state.target)
        if self.target_rate:
            moved = jax.tree.map(lambda old, new: old + self.target_rate * (new - old), state.target, updated.params)
            updated = dataclasses.replace(updated, target=moved)
        return updated, losses

    def diagnose(self, state: TrainState, resources: Trajectories) -> dict[str, Float[Array, ""]]:
        """See base class: nothing, by default."""
        return {}


def rebuilt(build: Any, params: Any) -> Any:
    """Returns a module with trained parameters, given the function that builds it."""
    return nnx.merge(nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))))[0], params)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoalSampling:
    """Goals in hindsight, for a move of a recorded walk; what is left over are states of any other walk."""

    next_fraction: float = 0.2
    """Share of goals that the move reaches at once."""
    future_fraction: float = 0.5
    """Share of goals that the walk reaches later."""
    discount: float = 0.99
    """Later goals lie geometrically far ahead with this factor; 1 draws them uniformly from the rest of the walk."""

    def __post_init__(self):
        """Refuses shares that are none."""
        if min(self.next_fraction, self.future_fraction) < 0 or self.next_fraction + self.future_fraction > 1:
            raise ValueError(
                f"next_fraction and future_fraction must be shares of at most 1 together; got {self.next_fraction} "
                f"and {self.future_fraction}"
            )


@pytree
class HindsightMoves:
    """Moves and goals."""

    states: Int[Array, "B N"]
    """Before the move."""
    actions: Int[Array, " B"]
    """The move."""
    successors: Int[Array, "B N"]
    """After it."""
    legal_after: Bool[Array, "B A"]
    """Which actions are legal there."""
    goals: Goal
    """What is to be reached."""
    reached: Bool[Array, " B"]
    """Whether the move reaches it."""


@pytree
class HindsightBatch:
    """The same, as codes of states."""

    codes: Float[Array, "B D"]
    """Before the move."""
    actions: Int[Array, " B"]
    """The move."""
    successors: Float[Array, "B D"]
    """After it."""
    legal_after: Bool[Array, "B A"]
    """Which actions are legal there."""
    goals: Float[Array, "B D"]
    """What is to be reached; zeros where it leaves a token open."""
    reached: Bool[Array, " B"]
    """Whether the move reaches it."""


def sample_hindsight(
    env: Env,
    trajectories: Trajectories,
    batch_size: int,
    sampling: GoalSampling,
    key: Key[Array, ""],
    walks: Int[Array, " B"] | None = None,
    as_posed: bool = False,
) -> HindsightBatch:
    """Draws moves and goals as `draw_hindsight`, and returns their codes."""
    moves = draw_hindsight(env, trajectories, batch_size, sampling, key, walks, as_posed)
    return HindsightBatch(
        codes=exact_codes(env, moves.states),
        actions=moves.actions,
        successors=exact_codes(env, moves.successors),
        legal_after=moves.legal_after,
        goals=exact_goal_codes(env, moves.goals),
        reached=moves.reached,
    )


def draw_hindsight(
    env: Env,
    trajectories: Trajectories,
    batch_size: int,
    sampling: GoalSampling,
    key: Key[Array, ""],
    walks: Int[Array, " B"] | None = None,
    as_posed: bool = False,
) -> HindsightMoves:
    """Draws moves uniformly, and for each a goal that some walk reached, as problems of the domain could pose it.

    Args:
      env: the domain.
      trajectories: recorded walks.
      batch_size: B, moves to draw.
      sampling: which goals.
      key: for the draws.
      walks: from which walk each move is taken; None for any.
      as_posed: whether goals are posed as problems of the domain pose them; otherwise each asks for tokens of the state
        that was reached, one of a goal's alternatives.
    """
    num_walks, length = trajectories.actions.shape
    keys = jax.random.split(key, 7)
    if walks is None:
        walks = jax.random.randint(keys[0], (batch_size,), 0, num_walks)
    times = jax.random.randint(keys[1], (batch_size,), 0, length)
    uniform = jax.random.uniform(keys[2], (batch_size,), minval=1e-6)
    left = length - times
    if sampling.discount < 1:
        ahead = jnp.minimum(1 + jnp.floor(jnp.log(uniform) / np.log(sampling.discount)).astype(jnp.int32), left)
    else:
        ahead = 1 + jnp.floor(uniform * left).astype(jnp.int32).clip(max=left - 1)
    kind = jax.random.uniform(keys[3], (batch_size,))
    ahead = jnp.where(kind < sampling.next_fraction, 1, ahead)
    is_other = kind >= sampling.next_fraction + sampling.future_fraction
    goal_walks = jnp.where(is_other, jax.random.randint(keys[4], (batch_size,), 0, num_walks), walks)
    goal_times = jnp.where(is_other, jax.random.randint(keys[5], (batch_size,), 0, length + 1), times + ahead)
    goals, after = trajectories.states[goal_walks, goal_times], trajectories.states[walks, times + 1]
    states = trajectories.states[walks, times]
    if as_posed:
        goal = posed_goals(env, states, goals, keys[6])
        reached = jax.vmap(env.is_solved)(after, goal)
    else:
        goal = Goal(tokens=goals, mask=hindsight_masks(env, goals, keys[6]))
        reached = matches(after, goal)
    return HindsightMoves(
        states=states,
        actions=trajectories.actions[walks, times],
        successors=after,
        legal_after=trajectories.legal_actions[walks, times + 1],
        goals=goal,
        reached=reached,
    )


def posed_goals(env: Env, begin: Int[Array, "B N"], end: Int[Array, "B N"], key: Key[Array, ""]) -> Goal:
    """Returns goals as problems of the domain pose them, each of which a walk reached."""
    if env.goal_kind is GoalKind.STATE:
        return full_goal(end)
    return jax.vmap(env.posed_goal)(begin, end, jax.random.split(key, len(begin)))


def hindsight_masks(env: Env, states: Int[Array, "B N"], key: Key[Array, ""]) -> Bool[Array, "B N"]:
    """Returns which tokens of reached states a goal of the domain could have asked for."""
    if env.goal_kind is GoalKind.STATE:
        return jnp.ones(states.shape, bool)
    return jax.vmap(env.hindsight_mask)(states, jax.random.split(key, len(states)))
