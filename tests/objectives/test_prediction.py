import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jepa.latents import normalize_slots
from jepa.objectives.inverse_dynamics import InverseDynamics
from jepa.objectives.prediction import RolloutPrediction

BATCH_SIZE, LENGTH, WIDTH, NUM_SLOTS = 5, 3, 12, 2
rng = np.random.default_rng(0)
START = normalize_slots(jnp.asarray(rng.normal(size=(BATCH_SIZE, WIDTH)), jnp.float32), NUM_SLOTS)
ACTIONS = jnp.asarray(rng.integers(3, size=(BATCH_SIZE, LENGTH)), jnp.int32)


def shift(latents: jax.Array, actions: jax.Array) -> jax.Array:
    """Rolls each latent by its action plus one."""
    return jax.vmap(jnp.roll)(latents, actions + 1)


def test_rollout_without_noise_feeds_predictions_back():
    rollout = RolloutPrediction(input_noise=0.0).rollout(shift, START, ACTIONS, 1, jax.random.key(0))
    assert rollout.shape == (BATCH_SIZE, LENGTH, WIDTH)
    turns = np.cumsum(np.asarray(ACTIONS) + 1, axis=1)
    for index, time in np.ndindex(BATCH_SIZE, LENGTH):
        np.testing.assert_allclose(rollout[index, time], np.roll(START[index], turns[index, time]), atol=1e-4)


def test_noise_is_as_large_as_promised_and_stays_on_the_shell():
    start = normalize_slots(jnp.asarray(rng.normal(size=(4000, 64)), jnp.float32), NUM_SLOTS)
    inputs = []

    def predict(latents: jax.Array, actions: jax.Array) -> jax.Array:
        inputs.append(latents)
        return start

    prediction = RolloutPrediction(input_noise=0.3)
    prediction.rollout(predict, start, jnp.zeros((4000, 2), jnp.int32), NUM_SLOTS, jax.random.key(0))
    for noisy in map(np.asarray, inputs):
        np.testing.assert_allclose(noisy.reshape(-1, 32).std(axis=1), 1, atol=1e-3)
        # Undo the scale: the part along the clean latent has length 1, what is across is noise.
        clean = np.asarray(start).reshape(4000, NUM_SLOTS, 32)
        cosine = (clean * noisy.reshape(clean.shape)).mean(axis=-1)
        sizes = np.sqrt(np.maximum(1 / cosine**2 - 1, 0)).mean(axis=1)
        # Sizes are uniform on [0, 0.3].
        np.testing.assert_allclose(np.quantile(sizes, [0.1, 0.5, 0.9]), [0.03, 0.15, 0.27], atol=0.015)
    assert np.abs(inputs[0] - inputs[1]).max() > 0.1


def test_loss_is_the_weighted_mean_squared_error():
    one, other = rng.normal(size=(2, BATCH_SIZE, LENGTH, WIDTH)).astype(np.float32)
    loss = RolloutPrediction(weight=7.0).loss(jnp.asarray(one), jnp.asarray(other))
    assert float(loss) == pytest.approx(7.0 * np.mean((one - other) ** 2), rel=1e-5)


def test_inverse_dynamics_is_cross_entropy_of_the_action():
    head = InverseDynamics(hidden_width=8).build(latent_width=WIDTH, num_actions=3, rngs=nnx.Rngs(0))
    following = shift(START, ACTIONS[:, 0])
    logits = np.float64(head(START, following))
    expected = [np.log(np.exp(row).sum()) - row[action] for row, action in zip(logits, ACTIONS[:, 0], strict=True)]
    assert float(head.loss(START, following, ACTIONS[:, 0])) == pytest.approx(np.mean(expected), rel=1e-5)
