"""Walks imagined by a frozen world model: unlimited training data for a cost, without a single new transition."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.latents import worst_slot_difference
from jepa.types import Trajectories, pytree, require_positive
from jepa.world_model import WorldModelModule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imagination:
    """How walks are imagined: from recorded states, by random moves that do not undo the one before."""

    num_walks: int = 256
    """Walks imagined at a time; they are used for all updates of one compiled call."""
    walk_length: int = 30
    """Moves of each walk."""
    recorded_start_fraction: float = 0.0
    """Share of walks that begin at any recorded state; the others begin where a recorded walk begins."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_walks", "walk_length", "same_state_tolerance")


@pytree
class ImaginedWalks:
    """Walks in latent space, with every successor of every state on the way."""

    latents: Float[Array, "B T D"]
    """Latents along each walk."""
    successors: Float[Array, "B T A D"]
    """Predicted latents after every action."""
    legal_actions: Bool[Array, "B T A"]
    """Which actions are predicted to be legal."""
    undoing: Bool[Array, "B T A"]
    """Which actions lead back to the latent before; none does in the first one."""
    goals: Float[Array, "B D"]
    """Latent of the first state of the recorded walk that the imagined one continues."""
    elapsed: Int[Array, "B T"]
    """Actions from that first state, recorded and imagined together: an upper bound of the distance to it."""


def imagine_walks(
    world_model: WorldModelModule, trajectories: Trajectories, config: Imagination, key: Key[Array, ""]
) -> ImaginedWalks:
    """Imagines `num_walks` walks of `walk_length` moves from recorded states."""
    walks, times, move_key = _starts(trajectories, config, key)
    start = world_model.encode(trajectories.states[walks, times])

    def move(carry, step):
        latents, previous = carry
        raw = world_model.predictor.all_actions(latents)
        # Compiled only for callers that use all successors.
        successors = world_model.reidentifier(raw, world_model.encoder)
        legal = world_model.legal_actions(latents)
        slots = world_model.encoder.num_slots
        undoes = worst_slot_difference(raw, previous[:, None], slots) < config.same_state_tolerance
        weights = legal * jnp.where(undoes, 1e-6, 1.0) + 1e-12
        action = jax.random.categorical(jax.random.fold_in(move_key, step), jnp.log(weights))
        following = jnp.take_along_axis(raw, action[:, None, None], axis=1)[:, 0]
        following = world_model.reidentifier(following, world_model.encoder)
        is_stuck = ~legal.any(axis=-1)
        following = jnp.where(is_stuck[:, None], latents, following)
        return (following, latents), (latents, successors, legal, undoes)

    steps = jnp.arange(config.walk_length + 1)
    # Nothing precedes the start: a latent that equals no other keeps all moves open.
    _, stacked = jax.lax.scan(move, (start, jnp.full_like(start, 1e3)), steps)
    latents, successors, legal, undoing = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), stacked)
    # Behind a dead end a walk stays where it is, and so does its clock.
    moved = legal.any(axis=-1).astype(jnp.int32)
    num_moves = jnp.cumsum(moved, axis=1) - moved
    return ImaginedWalks(
        latents=latents,
        successors=successors,
        legal_actions=legal,
        undoing=undoing,
        goals=world_model.encode(trajectories.states[walks, 0]),
        elapsed=times[:, None] + num_moves,
    )


@pytree
class ForwardWalks:
    """Walks in latent space, and nothing beside them."""

    latents: Float[Array, "B T D"]
    """Latents along each walk."""
    legal_actions: Bool[Array, "B T A"]
    """Which actions are predicted to be legal."""
    actions: Int[Array, "B T"]
    """Action taken in each latent; not a legal one where none is."""


def imagine_forward_walks(
    world_model: WorldModelModule, trajectories: Trajectories, config: Imagination, key: Key[Array, ""]
) -> ForwardWalks:
    """Imagines such walks by two predictions for each move, where `imagine_walks` predicts all actions.

    An action that turns out to lead back to the latent before is replaced by another draw, which is taken as it is.
    """
    walks, times, move_key = _starts(trajectories, config, key)
    start = world_model.encode(trajectories.states[walks, times])

    def move(carry, step):
        latents, previous = carry
        legal = world_model.legal_actions(latents)
        draw = lambda key: jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf))  # noqa: E731
        first, second = map(draw, jax.random.split(jax.random.fold_in(move_key, step)))
        after_first, after_second = (world_model.predict(latents, action) for action in (first, second))
        undoes = worst_slot_difference(after_first, previous, world_model.encoder.num_slots)
        undoes = (undoes < config.same_state_tolerance)[:, None]
        following = jnp.where(undoes, after_second, after_first)
        following = jnp.where(legal.any(axis=-1)[:, None], following, latents)
        return (following, latents), (latents, legal, jnp.where(undoes[:, 0], second, first))

    steps = jnp.arange(config.walk_length + 1)
    _, stacked = jax.lax.scan(move, (start, jnp.full_like(start, 1e3)), steps)
    latents, legal, actions = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), stacked)
    return ForwardWalks(latents=latents, legal_actions=legal, actions=actions)


def _starts(
    trajectories: Trajectories, config: Imagination, key: Key[Array, ""]
) -> tuple[Int[Array, " B"], Int[Array, " B"], Key[Array, ""]]:
    """Draws the recorded walks that imagined ones continue, and from which of their states; and a key for the moves."""
    walk_key, time_key, move_key = jax.random.split(key, 3)
    num_recorded, recorded_length = trajectories.actions.shape
    num_later = round(config.recorded_start_fraction * config.num_walks)
    walks = jax.random.randint(walk_key, (config.num_walks,), 0, num_recorded)
    times = jax.random.randint(time_key, (config.num_walks,), 0, recorded_length + 1)
    return walks, jnp.where(jnp.arange(config.num_walks) < num_later, times, 0), move_key
