import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jepa.behaviours import NonBacktrackingWalks
from jepa.dataset import collect_walks
from jepa.encoders.linear import LinearEncoder
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.latents import (
    HISTOGRAM_EDGES,
    effective_rank,
    fingerprints,
    histogram,
    normalize_slots,
    worst_slot_difference,
)

NUM_SLOTS, SLOT_WIDTH = 4, 8


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


# --- Scale.


def test_slots_are_standardised_like_numpy():
    latents = 3.0 + 5.0 * normal(10, 2, NUM_SLOTS * SLOT_WIDTH)
    slots = np.asarray(latents, np.float64).reshape(10, 2, NUM_SLOTS, SLOT_WIDTH)
    expected = (slots - slots.mean(-1, keepdims=True)) / slots.std(-1, keepdims=True)
    np.testing.assert_allclose(normalize_slots(latents, NUM_SLOTS), expected.reshape(latents.shape), atol=1e-5)


def test_standardising_forgets_scale_and_shift_of_each_slot_and_is_idempotent():
    latents = normal(10, NUM_SLOTS * SLOT_WIDTH)
    slots = np.asarray(latents).reshape(10, NUM_SLOTS, SLOT_WIDTH)
    scale, shift = 1 + np.exp(normal(10, NUM_SLOTS, 1, seed=1)), np.asarray(normal(10, NUM_SLOTS, 1, seed=2))
    changed = jnp.asarray((scale * slots + shift).reshape(10, -1))
    once = normalize_slots(latents, NUM_SLOTS)
    np.testing.assert_allclose(normalize_slots(changed, NUM_SLOTS), once, atol=1e-4)
    np.testing.assert_allclose(normalize_slots(once, NUM_SLOTS), once, atol=1e-5)


def test_constant_slots_become_zero_with_a_finite_gradient():
    constant = jnp.full((3, NUM_SLOTS * SLOT_WIDTH), 7.0)
    assert (normalize_slots(constant, NUM_SLOTS) == 0).all()
    gradient = jax.grad(lambda latents: (normalize_slots(latents, NUM_SLOTS) ** 2).sum())(constant)
    assert jnp.isfinite(gradient).all()


# --- Identity.


def test_worst_slot_difference_by_brute_force():
    latents, others = np.asarray(normal(5, 1, 32)), np.asarray(normal(6, 32, seed=1))
    expected = np.zeros((5, 6))
    for i, j in np.ndindex(5, 6):
        slots = (latents[i, 0] - others[j]).reshape(NUM_SLOTS, SLOT_WIDTH)
        expected[i, j] = max(np.mean(slot**2) for slot in slots)
    difference = worst_slot_difference(jnp.asarray(latents), jnp.asarray(others), NUM_SLOTS)
    np.testing.assert_allclose(difference, expected, rtol=1e-5)
    assert (worst_slot_difference(jnp.asarray(others), jnp.asarray(others), NUM_SLOTS) == 0).all()


def test_one_different_slot_is_a_difference():
    latents = normalize_slots(normal(100, 9 * 16), 9)
    changed = latents.at[:, 48:64].set(normalize_slots(normal(100, 16, seed=1), 1))
    difference = worst_slot_difference(latents, changed, 9)
    assert abs(float(difference.mean()) - 2.0) < 0.2
    np.testing.assert_allclose(difference / 9, ((latents - changed) ** 2).mean(axis=-1), rtol=1e-4)


# --- Fingerprints.


def test_equal_latents_have_equal_fingerprints_in_any_batch():
    latents = normal(64, 32)
    codes = fingerprints(latents, 32)
    shuffled = np.random.default_rng(1).permutation(64)
    assert codes.dtype == jnp.uint32
    assert (fingerprints(latents[shuffled], 32) == codes[shuffled]).all()
    assert (fingerprints(latents.reshape(4, 16, 32), 32).reshape(-1) == codes).all()
    assert (jax.jit(lambda latents: fingerprints(latents, 32))(latents) == codes).all()


def test_slight_noise_rarely_changes_a_fingerprint():
    latents = normal(2000, 128)
    noisy = latents + 1e-3 * normal(2000, 128, seed=1)
    # A bit flips with probability angle / pi: 32 x 1e-3 / pi = 1 %.
    assert float(jnp.mean(fingerprints(latents, 32) == fingerprints(noisy, 32))) > 0.97


@pytest.mark.parametrize("angle", [0.1, 0.5, 1.0, math.pi / 2, 3.0])
def test_bits_differ_with_the_angle(angle):
    """P(a bit differs) = angle / pi (Charikar, 2002)."""
    one, other = (np.asarray(normal(4000, 64, seed=seed)) for seed in (0, 1))
    one = one / np.linalg.norm(one, axis=1, keepdims=True)
    other = other - (one * other).sum(axis=1, keepdims=True) * one
    other = other / np.linalg.norm(other, axis=1, keepdims=True)
    turned = math.cos(angle) * one + math.sin(angle) * other
    differing = np.asarray(fingerprints(jnp.asarray(one), 32)) ^ np.asarray(fingerprints(jnp.asarray(turned), 32))
    share = np.unpackbits(differing.view(np.uint8)).sum() / (32 * 4000)
    assert abs(share - angle / math.pi) < 0.01


@pytest.mark.parametrize("num_bits", [1, 7, 32])
def test_fingerprints_use_all_their_bits_and_no_more(num_bits):
    assert np.bitwise_or.reduce(np.asarray(fingerprints(normal(1000, 16), num_bits))) == 2**num_bits - 1


@pytest.mark.parametrize("num_bits", [0, 257])
def test_impossible_numbers_of_bits_are_refused(num_bits):
    with pytest.raises(ValueError, match=f"1 to 256 bits; got num_bits = {num_bits}"):
        fingerprints(normal(2, 16), num_bits)


@pytest.mark.parametrize(
    ("env", "encoder"),
    [(SlidingTiles(), TokenSlotsEncoder()), (PocketCube(), LinearEncoder())],
    ids=lambda value: type(value).__name__,
)
def test_states_of_a_search_have_different_fingerprints(env, encoder):
    """Neighbours are 0.4 to 0.7 apart in angle: 32 signs agree on one pair in some thousands, 64 on none here."""
    walks = collect_walks(env, NonBacktrackingWalks(walk_length=40), 40 * 200, seed=0)
    states = np.unique(walks.states.reshape(-1, env.num_tokens), axis=0)
    assert len(states) > 3000
    module = encoder.build(num_tokens=env.num_tokens, vocab_size=env.vocab_size, rngs=nnx.Rngs(0))
    latents = jax.jit(module)(jnp.asarray(states))
    assert len(np.unique(fingerprints(latents, 32))) > 0.998 * len(states)
    assert len(np.unique(fingerprints(latents, 64))) == len(states)


# --- Effective rank.


def test_neighbours_in_few_of_many_slots_need_more_than_64_bits():
    """Latents that differ in 2 of 168 slots, as after one derivation among many quantities."""
    state = normalize_slots(normal(1, 168 * 16, seed=3), 168)
    others = normalize_slots(normal(168 // 2, 2 * 16, seed=4), 2).reshape(84, 32)
    neighbours = jnp.stack([state[0].at[32 * i : 32 * (i + 1)].set(others[i]) for i in range(84)])
    distinct = {bits: len(np.unique(fingerprints(neighbours, bits))) for bits in (64, 256)}
    assert distinct[64] < 84 == distinct[256]


compiled_effective_rank = jax.jit(effective_rank)


def singular_value_entropy_rank(latents: np.ndarray) -> float:
    """The definition, by a singular value decomposition in double precision."""
    values = np.linalg.svd(latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64), compute_uv=False)
    shares = values[values > 1e-3 * values[0]] / values[values > 1e-3 * values[0]].sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


@pytest.mark.parametrize("rank", [1, 2, 5, 16, 32])
def test_effective_rank_agrees_with_a_singular_value_decomposition(rank):
    latents = 3.0 + normal(400, rank) @ normal(rank, 32, seed=1)
    expected = singular_value_entropy_rank(np.asarray(latents))
    assert 1 - 1e-6 <= expected <= rank + 1e-3
    assert float(compiled_effective_rank(latents)) == pytest.approx(expected, rel=1e-3)


def test_effective_rank_of_an_orthogonal_design_is_its_width():
    latents = jnp.concatenate([jnp.eye(16), -jnp.eye(16)])
    assert float(effective_rank(latents)) == pytest.approx(16, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.0])
def test_effective_rank_of_equal_latents_is_that_of_a_point(value):
    latents = jnp.full((400, 32), value)
    assert float(compiled_effective_rank(latents)) == pytest.approx(1, abs=1e-5)


def test_a_histogram_counts_every_number_and_puts_what_is_beyond_at_the_border():
    latents = np.random.default_rng(0).normal(scale=3.0, size=(40, 16))
    counts = np.asarray(histogram(jnp.asarray(latents, jnp.float32)))
    expected, _ = np.histogram(np.clip(latents, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1]), HISTOGRAM_EDGES)
    assert counts.sum() == latents.size
    assert (counts == expected).all() and counts[0] >= (latents < -6).sum() > 0
