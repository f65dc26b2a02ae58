"""What every regularizer and every target must do: all are found by discovery, built with their defaults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa.objectives
from jepa.objectives.base import Regularizer, Target
from jepa.objectives.ema_target import EMATarget
from jepa.objectives.stop_gradient import StopGradientTarget
from tests.discovery import discover

BATCH_SIZE, LATENT_WIDTH = 256, 8
REGULARIZERS = [found() for found in discover(Regularizer, jepa.objectives)]
TARGETS = [found() for found in discover(Target, jepa.objectives)]


def named(objective) -> str:
    return type(objective).__name__


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH_SIZE, LATENT_WIDTH)).astype(np.float32)


@pytest.fixture(scope="module", params=REGULARIZERS, ids=named)
def loss_and_gradient(request):
    """Latents to loss and gradient, compiled once."""
    key = jax.random.key(0)
    return jax.jit(jax.value_and_grad(lambda latents: request.param.loss(latents, key)))


def test_the_shipped_objectives_are_found():
    assert {"SIGReg", "VICReg"} <= set(map(named, REGULARIZERS))
    assert {"EMATarget", "StopGradientTarget"} <= set(map(named, TARGETS))


# --- Regularizers.


def test_every_kind_of_collapse_costs_more_than_a_gaussian(loss_and_gradient, gaussian):
    healthy = loss_and_gradient(gaussian)[0]
    collapsed = {
        "all zero": np.zeros_like(gaussian),
        "all equal": np.full_like(gaussian, 0.7),
        "small": 0.05 * gaussian,
        "a line": np.repeat(gaussian[:, :1], LATENT_WIDTH, axis=1),
        "half of the directions": gaussian * (np.arange(LATENT_WIDTH) < LATENT_WIDTH // 2),
    }
    for name, latents in collapsed.items():
        assert loss_and_gradient(latents.astype(np.float32))[0] > 2 * healthy, name


def test_more_collapse_costs_more(loss_and_gradient, gaussian):
    losses = [float(loss_and_gradient(scale * gaussian)[0]) for scale in np.linspace(0, 1, 6, dtype=np.float32)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("value", [0.0, 1.0, -30.0])
def test_the_gradient_is_finite_without_variance(loss_and_gradient, gaussian, value):
    loss, gradient = loss_and_gradient(np.full_like(gaussian, value))
    assert np.isfinite(loss) and np.isfinite(gradient).all()


def test_the_order_of_the_batch_does_not_matter(loss_and_gradient, gaussian):
    shuffled = np.random.default_rng(1).permutation(BATCH_SIZE)
    loss, gradient = loss_and_gradient(gaussian)
    shuffled_loss, shuffled_gradient = loss_and_gradient(gaussian[shuffled])
    assert shuffled_loss == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(shuffled_gradient, gradient[shuffled], atol=1e-7)


def test_gradient_descent_undoes_collapse(loss_and_gradient, gaussian):
    latents = first = 0.1 * gaussian
    for _ in range(100):
        gradient = np.asarray(loss_and_gradient(latents)[1])
        latents = latents - 0.05 * gradient / np.abs(gradient).max()
    assert loss_and_gradient(latents)[0] < 0.5 * loss_and_gradient(first)[0]
    assert latents.std(axis=0).min() > 3 * first.std(axis=0).max()


# --- Targets.


def encoder_params(step: int) -> dict:
    rng = np.random.default_rng(step)
    return {"linear": {"kernel": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32), "bias": jnp.full(2, float(step))}}


@pytest.mark.parametrize("target", TARGETS, ids=named)
def test_targets_begin_with_the_encoder_and_keep_its_structure(target):
    params = encoder_params(0)
    state = target.init(params)
    jax.tree.map(np.testing.assert_array_equal, target.params(params, state), params)
    new_state = jax.jit(target.update)(encoder_params(1), state)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    assert jax.tree.structure(target.params(encoder_params(1), new_state)) == jax.tree.structure(params)


@pytest.mark.parametrize("target", TARGETS, ids=named)
def test_an_encoder_that_does_not_change_is_its_own_target(target):
    params = encoder_params(0)
    state = target.init(params)
    for _ in range(3):
        state = target.update(params, state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), target.params(params, state), params)


def test_the_online_target_is_the_present_encoder():
    target = StopGradientTarget()
    state = target.update(encoder_params(1), target.init(encoder_params(0)))
    assert target.params(encoder_params(1), state)["linear"]["bias"][0] == 1


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_moving_average_in_closed_form(decay):
    """theta'_k = decay^k theta_0 + (1 - decay) sum_i decay^(k - i) theta_i."""
    target, count = EMATarget(decay=decay), 6
    update = jax.jit(target.update)
    state = target.init(encoder_params(0))
    for step in range(1, count + 1):
        state = update(encoder_params(step), state)
    weights = [decay**count, *((1 - decay) * decay ** (count - step) for step in range(1, count + 1))]
    expected = jax.tree.map(
        lambda *leaves: sum(weight * np.float64(leaf) for weight, leaf in zip(weights, leaves, strict=True)),
        *map(encoder_params, range(count + 1)),
    )
    averaged = target.params(encoder_params(count), state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), averaged, expected)
