"""What can be said about latents without knowing what they stand for: scale, identity, fingerprints."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

HISTOGRAM_EDGES = np.linspace(-6.0, 6.0, 97)
"""Between which latents are counted; slots have variance 1."""


def normalize_slots(latents: Float[Array, "*B D"], num_slots: int) -> Float[Array, "*B D"]:
    """Standardises each slot: LayerNorm without learned scale and shift.

    A fixed scale keeps predicted latents on the same shell as encoded ones, so that drift cannot show as growth
    (which a cost could read as elapsed time), and it makes tolerances on latents comparable across runs.
    """
    slots = latents.reshape(*latents.shape[:-1], num_slots, -1)
    centred = slots - slots.mean(axis=-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return (centred * scale).reshape(latents.shape)


def worst_slot_difference(
    latents: Float[Array, "*#B D"], others: Float[Array, "*#B D"], num_slots: int
) -> Float[Array, "*B"]:
    """Returns the largest mean squared difference of any slot; below a tolerance two latents are one state.

    Independent states differ by about 2 in a slot of variance 1, states that share a slot by 0 in it.
    """
    squared = (latents - others) ** 2
    return squared.reshape(*squared.shape[:-1], num_slots, -1).mean(axis=-1).max(axis=-1)


def leave_open(latents: Float[Array, "*#B D"], fixed: Bool[Array, "*#B S"], num_slots: int) -> Float[Array, "*B D"]:
    """Returns goal latents in which the slots that a goal does not fix are all zeros, as no slot of a state is."""
    slots = latents.reshape(*latents.shape[:-1], num_slots, -1)
    return jnp.where(fixed[..., None], slots, 0.0).reshape(*fixed.shape[:-1], latents.shape[-1])


def goal_difference(
    latents: Float[Array, "B C D"], goals: Float[Array, "B K D"], num_slots: int
) -> Float[Array, "B C"]:
    """Returns how far C latents are from the nearest of K alternatives of their goal.

    The largest mean squared difference of any slot that the alternative fixes (see `leave_open`).
    """
    squared = (latents[:, :, None] - goals[:, None]) ** 2
    is_fixed = (goals.reshape(*goals.shape[:-1], num_slots, -1) != 0).any(axis=-1)
    differences = squared.reshape(*squared.shape[:-1], num_slots, -1).mean(axis=-1)
    return jnp.where(is_fixed[:, None], differences, 0.0).max(axis=-1).min(axis=-1)


def fingerprints(latents: Float[Array, "*B D"], num_bits: int) -> UInt[Array, "*B"]:
    """Hashes latents to integers by the signs of fixed random projections.

    Latents that agree up to drift get the same fingerprint unless a projection lies within the drift of zero;
    different states collide with probability (1 - angle / pi)^num_bits, neighbours most easily.

    Source: locality-sensitive hashing (Charikar, 2002).
    """
    if not 1 <= num_bits <= 256:
        raise ValueError(f"a fingerprint has 1 to 256 bits; got num_bits = {num_bits}")
    directions = jax.random.normal(jax.random.key(0), (latents.shape[-1], num_bits))
    signs = (latents @ directions > 0).astype(jnp.uint32)
    code = jnp.zeros(latents.shape[:-1], jnp.uint32)
    # All words are hashed into 32 bits (multipliers of MurmurHash3), where unrelated latents hardly ever meet.
    for start in range(0, num_bits, 32):
        bits = signs[..., start : start + 32]
        word = (bits << jnp.arange(bits.shape[-1], dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)
        if start:
            word = word * jnp.uint32(0xCC9E2D51)
            word = ((word << 15) | (word >> 17)) * jnp.uint32(0x1B873593)
            code = ((code << 13) | (code >> 19)) if start > 32 else code
        code = code ^ word
    return code


def effective_rank(latents: Float[Array, "B D"]) -> Float[Array, ""]:
    """Returns exp(entropy) of the normalised singular values of centred latents: how many directions they use.

    Between 1 and min(B - 1, D); 1 also where all latents are equal. A collapsing encoder shows as a falling rank.

    Source: Roy and Vetterli, 2007, definition 1.
    """
    centred = latents - latents.mean(axis=0)
    # Singular values through the smaller Gram matrix, which is far cheaper than an SVD of the batch.
    is_wide = centred.shape[0] < centred.shape[1]
    variances = jnp.linalg.eigvalsh(centred @ centred.T if is_wide else centred.T @ centred)
    # Below the rounding of the largest there is only noise, which the root would blow up to a spread.
    singular = jnp.sqrt(jnp.where(variances > 1e-6 * variances.max(), variances, 0.0))
    shares = singular / jnp.maximum(singular.sum(), 1e-30)
    return jnp.exp(-jnp.sum(shares * jnp.log(jnp.maximum(shares, 1e-30))))


def histogram(latents: Float[Array, "*B D"]) -> Int[Array, " L"]:
    """Returns how many numbers of latents lie between each two of `HISTOGRAM_EDGES`; what is beyond counts as border.

    A collapse shows as a single peak, dead units as one at 0.
    """
    low, high = HISTOGRAM_EDGES[[0, -1]]
    return jnp.histogram(jnp.clip(latents, low, high), HISTOGRAM_EDGES)[0].astype(jnp.int32)
