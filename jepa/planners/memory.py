"""The short-term memory of a search: which latents it has seen, by fingerprints in a hash table.

Nothing is sorted and no two latents are compared pair by pair, so a look-up costs the same however much was seen. What
is new is never taken for seen except by two latents of equal fingerprint; what was seen is rarely taken for new.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jepa.latents import fingerprints


def empty_memory(num_problems: int, num_nodes: int) -> UInt[Array, "B H"]:
    """Returns a memory of a size at which `num_nodes` nodes of each problem seldom write over each other."""
    return jnp.zeros((num_problems, 1 << (8 * num_nodes - 1).bit_length()), jnp.uint32)


def nonzero_fingerprints(latents: Float[Array, "*B D"], num_bits: int) -> UInt[Array, "*B"]:
    """Returns the fingerprints of latents, never 0, which marks an empty place."""
    return jnp.maximum(fingerprints(latents, num_bits), 1)


_MULTIPLIERS = (2654435761, 2246822519)
"""Odd numbers that spread codes over a table (Knuth; xxHash). Two places for a code make a clash in both rare."""


def _places(codes: UInt[Array, "B C"], table_size: int) -> list[Int[Array, "B C"]]:
    """Where a code belongs in a table of a power of two: the upper bits of a multiplicative hash, twice."""
    shift = jnp.uint32(33 - table_size.bit_length())
    return [((codes * jnp.uint32(factor)) >> shift).astype(jnp.int32) for factor in _MULTIPLIERS]


def first_of_its_kind(codes: UInt[Array, "B C"], candidates: Bool[Array, "B C"]) -> Bool[Array, "B C"]:
    """Keeps the first of the candidates with equal codes.

    Each writes its number into a table, the lowest wins; who loses to an equal code is a duplicate. The first is never
    lost; a duplicate survives only if it loses to a different code in both of its places.
    """
    batch, count = codes.shape
    table_size = 1 << (2 * count - 1).bit_length()
    numbers = jnp.broadcast_to(jnp.arange(count), codes.shape)
    entries = jnp.where(candidates, numbers, count)
    rows = jnp.arange(batch)[:, None]
    is_first = jnp.ones_like(candidates)
    for places in _places(codes, table_size):
        table = jnp.full((batch, table_size), count).at[rows, places].min(entries)
        winner = jnp.minimum(table[rows, places], count - 1)
        is_first &= (winner == numbers) | (jnp.take_along_axis(codes, winner, axis=1) != codes)
    return is_first


def remember(seen: UInt[Array, "B H"], codes: UInt[Array, "B W"], valid: Bool[Array, "B W"]) -> UInt[Array, "B H"]:
    """Returns the memory with the valid ones of the codes written into both of their places."""
    rows, table_size = jnp.arange(seen.shape[0])[:, None], seen.shape[1]
    for places in _places(codes, table_size):
        seen = seen.at[rows, jnp.where(valid, places, table_size)].set(codes, mode="drop")
    return seen


def remembered(seen: UInt[Array, "B H"], codes: UInt[Array, "B C"]) -> Bool[Array, "B C"]:
    """Whether a code was remembered and at least one of its places has not been taken by another since."""
    found = [jnp.take_along_axis(seen, places, axis=1) == codes for places in _places(codes, seen.shape[1])]
    return found[0] | found[1]
