"""What every encoder must do: all are found by discovery, built with their default sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jepa.encoders
from jepa.encoders.base import Encoder, EncoderModule
from jepa.encoders.token_slots import TokenSlotsEncoder
from tests.discovery import discover

NUM_TOKENS, VOCAB_SIZE = 9, 10
ENCODERS = [found() for found in discover(Encoder, jepa.encoders)]
MODULES = [*ENCODERS, TokenSlotsEncoder(num_blocks=1)]


def build(encoder: Encoder, seed: int = 0) -> EncoderModule:
    return encoder.build(num_tokens=NUM_TOKENS, vocab_size=VOCAB_SIZE, rngs=nnx.Rngs(seed))


@pytest.fixture(scope="module", params=MODULES, ids=lambda encoder: f"{type(encoder).__name__}")
def module(request) -> EncoderModule:
    return build(request.param)


@pytest.fixture(scope="module")
def states() -> jax.Array:
    """Permutations, half of them neighbours of the other half: two tokens swapped."""
    rng = np.random.default_rng(0)
    states = np.array([rng.permutation(VOCAB_SIZE)[:NUM_TOKENS] for _ in range(32)], np.int32)
    swapped = states[:, [1, 0, *range(2, NUM_TOKENS)]]
    return jnp.asarray(np.concatenate([states, swapped]))


@pytest.fixture(scope="module")
def latents(module, states) -> np.ndarray:
    return np.asarray(jax.jit(module)(states))


def test_the_shipped_encoders_are_found():
    assert {"LinearEncoder", "ResidualMLPEncoder", "TokenSlotsEncoder"} <= {type(found).__name__ for found in ENCODERS}


def test_slots_have_mean_0_and_variance_1(module, latents, states):
    assert latents.shape == (len(states), module.latent_width) and latents.dtype == np.float32
    slots = latents.reshape(len(states), module.num_slots, -1)
    np.testing.assert_allclose(slots.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(slots.var(axis=-1), 1, atol=1e-3)


def test_batches_of_any_shape_equal_singles(module, latents, states):
    single, grid = jax.jit(lambda states: (module(states[5]), module(states.reshape(4, -1, NUM_TOKENS))))(states)
    np.testing.assert_allclose(single, latents[5], atol=1e-5)
    np.testing.assert_allclose(grid.reshape(latents.shape), latents, atol=1e-5)


def test_different_states_have_different_latents(latents):
    difference = np.abs(latents[:, None] - latents[None]).max(axis=-1)
    assert difference[~np.eye(len(latents), dtype=bool)].min() > 0.1


def test_initial_parameters_are_a_function_of_the_key():
    def parameters(seed: int) -> list[np.ndarray]:
        return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state([build(found, seed) for found in ENCODERS]))]

    one, same, other = parameters(0), parameters(0), parameters(1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True) if a.any())


def test_known_codes_are_the_slots_of_encoded_states(module, latents, states):
    codes = module.slot_codes()
    if codes is None:
        pytest.skip("the latents are not drawn from a known finite set")
    assert codes.shape == (VOCAB_SIZE, module.latent_width // module.num_slots)
    np.testing.assert_allclose(codes[states].reshape(latents.shape), latents, atol=2e-6)


def test_slots_mix_only_in_blocks(states):
    assert build(TokenSlotsEncoder(num_blocks=1)).slot_codes() is None
    module = build(TokenSlotsEncoder())
    slots = module(states).reshape(2, 32, NUM_TOKENS, -1)
    assert (slots[0][:, 2:] == slots[1][:, 2:]).all()
    assert (slots[0][:, :2] == slots[1][:, 1::-1]).all()
