"""What every re-identification must do, found by discovery, on an encoder that all of them can work with."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jepa.predictors
from jepa.encoders.linear import LinearEncoder
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.predictors.reidentification import NearestCode, NoReidentification, Reidentification
from tests.discovery import discover

NUM_TOKENS, VOCAB_SIZE = 9, 9
SIZES = dict(num_tokens=NUM_TOKENS, vocab_size=VOCAB_SIZE)
REIDENTIFICATIONS = [found() for found in discover(Reidentification, jepa.predictors)]
ENCODER = TokenSlotsEncoder().build(**SIZES, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def states() -> jax.Array:
    rng = np.random.default_rng(0)
    return jnp.asarray([rng.permutation(VOCAB_SIZE) for _ in range(256)], jnp.int32)


@pytest.fixture(scope="module")
def latents(states) -> jax.Array:
    return ENCODER(states)


@pytest.fixture(scope="module", params=REIDENTIFICATIONS, ids=lambda found: type(found).__name__)
def reidentify(request, states, latents):
    """A trained module, compiled."""
    module = request.param.build(encoder=ENCODER, **SIZES, rngs=nnx.Rngs(0))
    graph, params = nnx.split(module)
    optimizer = optax.adam(0.03)

    def update(carry, _):
        params, opt_state = carry
        gradients = jax.grad(lambda params: nnx.merge(graph, params).loss(latents, states))(params)
        changes, opt_state = optimizer.update(gradients, opt_state)
        return (optax.apply_updates(params, changes), opt_state), None

    params = jax.jit(lambda params: jax.lax.scan(update, (params, optimizer.init(params)), length=60)[0][0])(params)
    return jax.jit(lambda latents: nnx.merge(graph, params)(latents, ENCODER))


def noisy(latents: jax.Array, scale: float) -> jax.Array:
    noise = np.random.default_rng(1).normal(scale=scale, size=latents.shape)
    return latents + jnp.asarray(noise, jnp.float32)


def assert_same(one: jax.Array, other: jax.Array) -> None:
    """Equal up to the rounding by which two compilations of the same sum differ."""
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_the_shipped_ones_are_found():
    assert {"NearestCode", "NoReidentification", "ReencodedReadout"} <= {type(it).__name__ for it in REIDENTIFICATIONS}


def test_encoded_states_stay_what_they_are(reidentify, latents):
    assert_same(reidentify(latents), latents)


def test_doing_it_twice_changes_nothing(reidentify, latents):
    once = reidentify(noisy(latents, 0.3))
    assert_same(reidentify(once), once)


def test_any_leading_shape(reidentify, latents):
    assert_same(reidentify(latents.reshape(4, 64, -1)).reshape(latents.shape), latents)


@pytest.mark.parametrize("reidentification", [NearestCode()])
def test_noise_is_repaired(reidentification, latents):
    module = reidentification.build(encoder=ENCODER, **SIZES, rngs=nnx.Rngs(0))
    assert_same(module(noisy(latents, 0.3), ENCODER), latents)


def test_whatever_comes_is_moved_onto_codes(latents):
    module = NearestCode().build(encoder=ENCODER, **SIZES, rngs=nnx.Rngs(0))
    moved = np.asarray(module(noisy(jnp.zeros_like(latents), 1.0), ENCODER)).reshape(-1, 1, 16)
    assert (np.abs(moved - np.asarray(ENCODER.slot_codes())).max(axis=-1).min(axis=-1) < 2e-6).all()


def test_no_reidentification_is_the_identity(latents):
    module = NoReidentification().build(encoder=ENCODER, **SIZES, rngs=nnx.Rngs(0))
    assert (module(noisy(latents, 1.0), ENCODER) == noisy(latents, 1.0)).all()


@pytest.mark.parametrize("encoder", [LinearEncoder(), TokenSlotsEncoder(num_blocks=1)])
def test_encoders_without_codes_are_refused(encoder):
    module = encoder.build(**SIZES, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=type(module).__name__):
        NearestCode().build(encoder=module, **SIZES, rngs=nnx.Rngs(0))
