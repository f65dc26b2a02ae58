"""What a world model took for the states along a plan, and how far that was from the real ones."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jepa.envs.base import Env
from jepa.latents import worst_slot_difference
from jepa.world_model import WorldModelModule


def imagine(
    env: Env,
    world_model: WorldModelModule,
    states: Sequence[Int[np.ndarray, "_ N"]],
    actions: Sequence[Int[np.ndarray, " _"]],
) -> list[tuple[Int[np.ndarray, "_ N"], Float[np.ndarray, " _"]]]:
    """Imagines plans without once looking at reality after their starts.

    Args:
      env: the domain.
      world_model: the trained world model.
      states: of each plan the T + 1 real states.
      actions: of each plan its T actions.

    Returns:
      For each plan T + 1 states, those that the imagined latents stand for, and how far each imagined latent is from
      that of the real state: the mean squared difference of the worst slot.
    """
    longest = max((len(plan) for plan in actions), default=0)
    # Of one shape, so that every program is compiled once.
    padded_states = np.stack([_padded(one, longest + 1) for one in states])
    padded_actions = np.stack([np.pad(plan, (0, longest - len(plan))) for plan in actions])

    @jax.jit
    def compare(
        states: Int[Array, "S T_plus_1 N"], actions: Int[Array, "S T"]
    ) -> tuple[Float[Array, "S T_plus_1 D"], Float[Array, "S T_plus_1"]]:
        real = world_model.encode(states)

        def move(latents: Float[Array, "S D"], actions: Int[Array, " S"]) -> tuple[Float[Array, "S D"], ...]:
            after = world_model.predict(latents, actions)
            return after, after

        _, rest = jax.lax.scan(move, real[:, 0], actions.T)
        imagined = jnp.concatenate([real[:, :1], jnp.moveaxis(rest, 0, 1)], axis=1)
        return imagined, worst_slot_difference(imagined, real, world_model.encoder.num_slots)

    imagined, differences = compare(jnp.asarray(padded_states), jnp.asarray(padded_actions))
    if world_model.encoder.slot_codes() is not None:
        read = np.asarray(world_model.read_tokens(imagined))
    else:
        nearest = _Nearest(env, world_model)
        read = [nearest(one, latents) for one, latents in zip(states, imagined, strict=True)]
    lengths = [len(one) for one in states]
    return [(read[i][:n], np.asarray(differences[i, :n])) for i, n in enumerate(lengths)]


def _padded(rows: Int[np.ndarray, "_ N"], length: int) -> Int[np.ndarray, "length N"]:
    """Repeats the last row until there are so many."""
    return np.concatenate([rows, np.repeat(rows[-1:], length - len(rows), axis=0)])


class _Nearest:
    """Finds the states that imagined latents stand for, of all within two moves of the real ones."""

    def __init__(self, env: Env, world_model: WorldModelModule):
        after = jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))
        self.num_tokens = env.num_tokens
        self.neighbours = jax.jit(lambda states: after(states, jnp.arange(env.num_actions)))
        self.encode = jax.jit(world_model.encode)
        # One imagined latent at a time: all of them beside all candidates may not fit.
        self.nearest = jax.jit(
            lambda imagined, candidates: jax.lax.map(
                lambda latent: ((candidates - latent) ** 2).mean(axis=-1).argmin(), imagined
            )
        )

    def __call__(
        self, states: Int[np.ndarray, "T_plus_1 N"], imagined: Float[Array, "longest D"]
    ) -> Int[np.ndarray, "longest N"]:
        """Args are the real states along a plan and what was imagined of them, which may be padded."""
        near = np.asarray(states)
        for _ in range(2):
            successors = np.asarray(self.neighbours(jnp.asarray(_even(near)))).reshape(-1, self.num_tokens)
            near = np.unique(np.concatenate([near, successors]), axis=0)
        near = _even(near)
        return near[np.asarray(self.nearest(imagined, self.encode(jnp.asarray(near))))]


def _even(rows: Int[np.ndarray, "_ N"]) -> Int[np.ndarray, "_ N"]:
    """Repeats the last row up to a power of two, so that plans of similar lengths share their programs."""
    return _padded(rows, 1 << (len(rows) - 1).bit_length())
