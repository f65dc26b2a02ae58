"""What every predictor must do: all are found by discovery, built with their default sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jepa.predictors
from jepa.encoders.trunks import AttentionTrunk, ConvolutionTrunk
from jepa.predictors.base import Predictor, PredictorModule
from jepa.predictors.legality import LegalityHead, TrunkLegality
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.slot_trunk import TrunkPredictor
from tests.discovery import discover

PREDICTORS = [found() for found in discover(Predictor, jepa.predictors)]
LATENT_WIDTH, BATCH_SIZE = 72, 6


def perturbed(module: PredictorModule) -> PredictorModule:
    """The same module with noise on all parameters, so that those which begin at zero matter."""
    graph, state = nnx.split(module)
    rng = np.random.default_rng(0)
    noisy = jax.tree.map(lambda leaf: leaf + jnp.asarray(rng.normal(scale=0.1, size=leaf.shape), leaf.dtype), state)
    return nnx.merge(graph, noisy)


@pytest.fixture(
    scope="module",
    params=[(predictor, 9, 4) for predictor in PREDICTORS]
    + [
        (OperatorPredictor(hidden_width=16), 1, 6),
        (OperatorPredictor(use_bias=True), 9, 4),
        (TrunkPredictor(late_actions=True), 9, 4),
        (TrunkPredictor(late_actions=True, place_gates=True), 9, 4),
        (TrunkPredictor(trunk=AttentionTrunk(slots_per_group=3)), 9, 4),
        (TrunkPredictor(trunk=ConvolutionTrunk(rows=3), late_actions=True), 9, 4),
    ],
    ids=lambda param: f"{type(param[0]).__name__}-{param[1]}slots",
)
def module(request) -> PredictorModule:
    predictor, num_slots, num_actions = request.param
    sizes = dict(latent_width=LATENT_WIDTH, num_slots=num_slots, num_actions=num_actions)
    return perturbed(predictor.build(**sizes, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def latents() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(BATCH_SIZE, LATENT_WIDTH)), jnp.float32)


@pytest.fixture(scope="module")
def predictions(module, latents) -> dict[str, np.ndarray]:
    """[batch, action, width], in three ways."""

    @jax.jit
    def predict(latents: jax.Array) -> dict[str, jax.Array]:
        shuffled = np.random.default_rng(0).permutation(BATCH_SIZE * module.num_actions)
        rows, actions = np.divmod(shuffled, module.num_actions)
        mixed = jnp.zeros((BATCH_SIZE, module.num_actions, LATENT_WIDTH))
        return {
            "all at once": module.all_actions(latents),
            "each alone": mixed.at[rows, actions].set(module(latents[rows], jnp.asarray(actions))),
            "singles": jax.lax.map(lambda latent: module.all_actions(latent[None])[0], latents),
        }

    return jax.tree.map(np.asarray, predict(latents))


@pytest.fixture(scope="module")
def successors(predictions) -> np.ndarray:
    return predictions["all at once"]


def test_the_shipped_predictors_are_found():
    found = {type(predictor).__name__ for predictor in PREDICTORS}
    assert {"MLPPredictor", "OperatorPredictor", "SlotMixerPredictor", "TrunkPredictor"} <= found


def test_all_actions_at_once_are_each_action_alone(module, predictions):
    assert predictions["all at once"].shape == (BATCH_SIZE, module.num_actions, LATENT_WIDTH)
    np.testing.assert_allclose(predictions["each alone"], predictions["all at once"], atol=1e-5)


def test_a_batch_equals_singles(predictions):
    np.testing.assert_allclose(predictions["singles"], predictions["all at once"], atol=1e-5)


def test_predicted_slots_have_mean_0_and_variance_1(module, successors):
    slots = successors.reshape(-1, module.num_slots, LATENT_WIDTH // module.num_slots)
    np.testing.assert_allclose(slots.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(slots.var(axis=-1), 1, atol=1e-3)


def test_actions_and_latents_matter(successors):
    """No two successors of a batch are the same."""
    flat = successors.reshape(-1, LATENT_WIDTH)
    difference = np.abs(flat[:, None] - flat[None]).max(axis=-1)
    assert difference[~np.eye(len(flat), dtype=bool)].min() > 0.01


def test_every_parameter_is_trained(module, latents, successors):
    graph, state = nnx.split(module)

    def loss(state):
        return (nnx.merge(graph, state).all_actions(latents) * successors[::-1]).sum()

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(state)):
        assert jnp.isfinite(gradient).all() and jnp.abs(gradient).max() > 0


@pytest.mark.parametrize(
    "legality", [LegalityHead(), TrunkLegality(), TrunkLegality(trunk=ConvolutionTrunk(rows=3))], ids=str
)
def test_legality_gives_a_logit_per_action_for_any_batch(legality, latents):
    head = legality.build(latent_width=LATENT_WIDTH, num_slots=9, num_actions=4, rngs=nnx.Rngs(0))
    logits = np.asarray(head(latents))
    assert logits.shape == (BATCH_SIZE, 4)
    np.testing.assert_allclose(head(latents.reshape(2, 3, LATENT_WIDTH)).reshape(BATCH_SIZE, 4), logits, atol=1e-5)
    np.testing.assert_allclose(head(latents[0]), logits[0], atol=1e-5)
