import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.encoders.linear import LinearEncoder
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.objectives.inverse_dynamics import InverseDynamics
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.vicreg import VICReg
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NearestCode, NoReidentification
from jepa.types import Trajectories
from jepa.world_model import WorldModel, WorldModelModule
from tests.exact_world import exact_world_model

ENV = SlidingTiles(rows=2, columns=3)
CONFIG = WorldModel(
    encoder=LinearEncoder(latent_width=24),
    predictor=OperatorPredictor(),
    prediction=RolloutPrediction(weight=3.0, horizon=2, input_noise=0.0),
    regularizer=VICReg(),
    reidentification=NoReidentification(),
)
KEY = jax.random.key(0)


def build(config: WorldModel) -> WorldModelModule:
    return config.build(ENV, KEY)


@pytest.fixture(scope="module")
def batch() -> Trajectories:
    """Walks of two moves: windows of the horizon of `CONFIG`."""
    return jax.tree.map(jnp.asarray, collect_walks(ENV, RandomWalks(walk_length=2), 2 * 32, seed=0))


@pytest.fixture(scope="module")
def world_model() -> WorldModelModule:
    return build(CONFIG)


@pytest.fixture(scope="module")
def gradients(world_model, batch):
    """Gradients of the loss for the parameters of the model and of a separate target encoder."""
    graph, params = nnx.split(world_model)
    target_graph, target_params = nnx.split(CONFIG.build(ENV, jax.random.key(1)).encoder)

    def loss(params, target_params):
        return nnx.merge(graph, params).loss(batch, nnx.merge(target_graph, target_params), KEY)[0]

    of_model, of_target = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, target_params)
    return nnx.to_pure_dict(of_model), nnx.to_pure_dict(of_target)


def largest(tree) -> float:
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


# --- Prediction.


@pytest.mark.parametrize(
    "config",
    [CONFIG, dataclasses.replace(CONFIG, encoder=TokenSlotsEncoder(slot_width=4), reidentification=NearestCode())],
    ids=["linear", "re-identified slots"],
)
def test_predicting_all_actions_is_predicting_each(config, batch):
    world_model = build(config)
    latents = world_model.encode(batch.states[:, 0])
    successors = world_model.predict_all(latents)
    assert successors.shape == (32, ENV.num_actions, latents.shape[-1])
    actions = jnp.tile(jnp.arange(ENV.num_actions), 32)
    predicted = world_model.predict(jnp.repeat(latents, ENV.num_actions, axis=0), actions)
    np.testing.assert_allclose(predicted.reshape(successors.shape), successors, atol=1e-5)


def test_re_identified_predictions_are_latents_of_states():
    world_model = build(
        dataclasses.replace(CONFIG, encoder=TokenSlotsEncoder(slot_width=4), reidentification=NearestCode())
    )
    latents = world_model.encode(jnp.arange(6)[None])
    slots = np.asarray(world_model.predict_all(latents)).reshape(-1, 1, 4)
    codes = np.asarray(world_model.encoder.slot_codes())
    assert (np.abs(slots - codes).max(axis=-1).min(axis=-1) < 1e-6).all()


def test_encoding_and_legality_keep_leading_axes(world_model, batch):
    latents = world_model.encode(batch.states)
    assert latents.shape == (32, 3, 24)
    legal = world_model.legal_actions(latents)
    assert legal.shape == (32, 3, ENV.num_actions) and legal.dtype == bool
    assert (legal == (world_model.legality(latents) > 0)).all()


# --- The loss.


def test_the_loss_is_made_of_its_parts(world_model, batch):
    loss, parts = jax.jit(lambda key: world_model.loss(batch, world_model.encoder, key))(KEY)
    first, targets = world_model.encode(batch.states[:, 0]), world_model.encode(batch.states[:, 1:])
    one = world_model.predictor(first, batch.actions[:, 0])
    two = world_model.predictor(one, batch.actions[:, 1])
    prediction_error = float(np.mean((np.stack([one, two], axis=1) - np.asarray(targets)) ** 2))
    regularizer_loss = float(VICReg().loss(first, KEY))
    assert float(parts["prediction_error"]) == pytest.approx(prediction_error, rel=1e-4)
    assert float(parts["regularizer_loss"]) == pytest.approx(regularizer_loss, rel=1e-4)
    assert float(parts["loss"]) == pytest.approx(3.0 * prediction_error + regularizer_loss, rel=1e-4)
    inverse = world_model.inverse_dynamics.loss(first, targets[:, 0], batch.actions[:, 0])
    assert float(parts["inverse_dynamics_loss"]) == pytest.approx(float(inverse), rel=1e-4)
    logits, legal = world_model.legality(first), batch.legal_actions[:, 0]
    assert float(parts["legality_error"]) == pytest.approx(float(jnp.mean((logits > 0) != legal)), abs=1e-6)
    probes = inverse + optax.sigmoid_binary_cross_entropy(logits, legal).mean()
    assert float(loss) == pytest.approx(float(parts["loss"] + probes), rel=1e-4)


def test_an_exact_world_model_has_no_prediction_error(batch):
    config = dataclasses.replace(exact_world_model(ENV), prediction=CONFIG.prediction)
    world_model = build(config)
    _, parts = jax.jit(lambda key: world_model.loss(batch, world_model.encoder, key))(KEY)
    assert float(parts["prediction_error"]) < 1e-10 and float(parts["legality_error"]) == 0


def test_input_noise_makes_prediction_harder_and_depends_on_the_key(world_model, batch):
    prediction = dataclasses.replace(CONFIG.prediction, input_noise=1.0)
    noisy = build(dataclasses.replace(exact_world_model(ENV), prediction=prediction))
    error = jax.jit(lambda key: noisy.loss(batch, noisy.encoder, key)[1]["prediction_error"])
    one, same, other = (float(error(jax.random.key(seed))) for seed in (0, 0, 1))
    assert one == same > 0 and other > 0 and one != other


# --- Where gradients flow.


def test_no_gradient_flows_into_targets(gradients):
    of_model, of_target = gradients
    assert largest(of_target) == 0
    assert all(largest(of_model[part]) > 0 for part in ("encoder", "predictor", "legality", "inverse_dynamics"))


@pytest.mark.parametrize(("weight", "reaches_encoder"), [(0.0, False), (1.0, True)])
def test_only_a_weight_lets_inverse_dynamics_shape_the_encoder(batch, weight, reaches_encoder):
    """With all else constant in the encoder, what it receives comes from the heads."""
    config = dataclasses.replace(
        CONFIG,
        prediction=dataclasses.replace(CONFIG.prediction, weight=0.0),
        regularizer=VICReg(variance_weight=0.0, covariance_weight=0.0),
        inverse_dynamics=InverseDynamics(weight=weight),
    )
    graph, params = nnx.split(build(config))

    def loss(params):
        world_model = nnx.merge(graph, params)
        return world_model.loss(batch, world_model.encoder, KEY)[0]

    gradient = nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))
    assert (largest(gradient["encoder"]) > 0) == reaches_encoder
    assert largest(gradient["legality"]) > 0 and largest(gradient["inverse_dynamics"]) > 0


# --- Building.


def test_parameters_are_a_function_of_the_key():
    def parameters(seed: int) -> list[jax.Array]:
        return jax.tree.leaves(nnx.state(CONFIG.build(ENV, jax.random.key(seed))))

    one, same, other = parameters(0), parameters(0), parameters(1)
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert not all((a == b).all() for a, b in zip(one, other, strict=True))
