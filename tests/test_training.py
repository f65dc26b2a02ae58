import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jepa.behaviours import RandomWalks
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning, CostStage
from jepa.dataset import collect_walks
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.hindsight import GoalRules
from jepa.mesh import data_mesh
from jepa.objectives.ema_target import EMATarget
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.training import Schedule, Stage, TrainState, WorldModelStage, sample_windows
from jepa.types import Trajectories
from jepa.world_model import WorldModel

ENV = SlidingTiles(rows=2, columns=3)
CONFIG = WorldModel(
    encoder=TokenSlotsEncoder(slot_width=8),
    predictor=SlotMixerPredictor(width=16),
    target=EMATarget(decay=0.5),
    prediction=RolloutPrediction(weight=1.0, horizon=1),
    regularizer=SIGReg(weight=0.1, num_directions=8, num_knots=5),
)
COST = CostLearning(
    head=EuclideanCost(hidden_width=16, embedding_width=4),
    imagination=Imagination(num_walks=8, walk_length=6),
    states_per_walk=4,
)
SCHEDULE = Schedule(num_updates=150, batch_size=64, learning_rate=1e-2, updates_per_call=50)
STAGES = ["world_model", "cost"]


@pytest.fixture(scope="module")
def walks() -> Trajectories:
    return collect_walks(ENV, RandomWalks(walk_length=10), 10 * 50, seed=0)


def make_stage(name: str, walks: Trajectories, seed: int = 0) -> Stage:
    """A stage that compiles at its first run and keeps the compiled function for later ones."""
    mesh, key = data_mesh(jax.devices()[:1]), jax.random.key(seed)
    stage = WorldModelStage(CONFIG, SCHEDULE, ENV, walks, key, mesh)
    if name == "cost":
        stage = CostStage(COST, SCHEDULE, stage, walks, GoalRules(), key, mesh)
    call = stage.compile()
    stage.compile = lambda: call
    return stage


def on_host(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)


def assert_identical(one, other) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    stage: Stage
    params: dict
    """Of earlier stages."""
    init: TrainState
    states: list[TrainState]
    """After each call."""
    losses: list[dict[str, float]]


def run(stage: Stage, init: TrainState, params: dict) -> Run:
    results = [(on_host(state), losses) for state, losses in stage.run(init, params)]
    return Run(stage=stage, params=params, init=init, states=[r[0] for r in results], losses=[r[1] for r in results])


@pytest.fixture(scope="module")
def world_model(walks) -> Run:
    stage = make_stage("world_model", walks)
    return run(stage, on_host(stage.init()), {})


@pytest.fixture(scope="module", params=STAGES)
def finished(request, walks, world_model) -> Run:
    if request.param == "world_model":
        return world_model
    stage = make_stage("cost", walks)
    return run(stage, on_host(stage.init()), {"world_model": world_model.states[-1].params})


# --- A stage is a pure function of config, seed and update number.


def test_a_stage_ends_after_its_updates(finished):
    assert [int(state.num_updates) for state in finished.states] == [50, 100, 150]
    figures = [value for losses in finished.losses for value in losses.values()]
    assert all(np.isfinite(value).all() for value in figures)
    assert run(finished.stage, finished.states[-1], finished.params).states == []


def test_the_same_seed_gives_the_same_bits_and_a_stop_changes_nothing(finished, walks):
    """Another object is run anew for one call, and then from a copy of that call's state."""
    stage = make_stage(finished.stage.name, walks)
    first_state, first_losses = next(stage.run(stage.init(), finished.params))
    copy = on_host(first_state)
    assert_identical(copy, finished.states[0])
    assert first_losses == finished.losses[0]
    continued = run(stage, copy, finished.params)
    assert_identical(continued.states, finished.states[1:])
    assert continued.losses == finished.losses[1:]


def test_another_seed_gives_other_parameters(walks):
    one, other = (jax.tree.leaves(make_stage("cost", walks, seed).init().params) for seed in (0, 1))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True) if np.ptp(a) > 0)


def test_every_update_has_its_own_batch(finished):
    """The same parameters learn otherwise from the batches of later updates."""
    later = dataclasses.replace(jax.tree.map(jnp.asarray, finished.init), num_updates=jnp.int32(100))
    assert run(finished.stage, later, finished.params).losses[0]["loss"] != finished.losses[0]["loss"]


def test_a_stage_is_compiled_once(finished):
    assert finished.stage.compile()._cache_size() == 1


# --- What the world model learns.


def test_some_updates_lower_the_loss_a_lot(world_model):
    first, last = world_model.losses[0], world_model.losses[-1]
    assert last["loss"] < 0.5 * first["loss"]
    assert last["prediction_error"] < 0.5 * first["prediction_error"]
    assert last["legality_error"] < 0.5 * first["legality_error"]
    assert last["inverse_dynamics_loss"] < 0.9 * first["inverse_dynamics_loss"]


def test_the_target_encoder_trails_the_encoder(world_model):
    def distance(one, other) -> float:
        return optax.tree.norm(jax.tree.map(np.subtract, one, other))

    first, last = world_model.states[0], world_model.states[-1]
    assert 0 < distance(last.target, last.params["encoder"]) < distance(last.target, first.target)


def test_the_collapse_alarm_rises_for_a_dead_encoder_alone(world_model):
    stage, state = world_model.stage, jax.tree.map(jnp.asarray, world_model.init)
    diagnose = jax.jit(stage.diagnose)
    fresh = diagnose(state, stage.resources({}))
    dead_encoder = jax.tree.map(jnp.zeros_like, state.params["encoder"])
    dead = dataclasses.replace(state, params=state.params | {"encoder": dead_encoder})
    collapsed = diagnose(dead, stage.resources({}))
    assert (fresh["alarm_collapse"], collapsed["alarm_collapse"]) == (0, 1)
    assert fresh["effective_rank"] > 10 and float(collapsed["effective_rank"]) == pytest.approx(1, abs=1e-3)


def test_the_collapse_alarm_is_silent_for_the_same_encoder_on_three_long_walks(world_model):
    """Their three last states alone would fill three directions of 48."""
    stage, state = world_model.stage, jax.tree.map(jnp.asarray, world_model.init)
    three = jax.tree.map(jnp.asarray, collect_walks(ENV, RandomWalks(walk_length=100), 3 * 100, seed=1))
    diagnosis = stage.diagnose(state, three)
    assert diagnosis["alarm_collapse"] == 0 and diagnosis["effective_rank"] > 10


def test_the_collapse_alarm_rises_for_two_tokens_that_became_one(world_model):
    stage, state = world_model.stage, jax.tree.map(jnp.asarray, world_model.init)
    embedding = state.params["encoder"]["embedding"]["embedding"]
    merged = state.params["encoder"] | {"embedding": {"embedding": embedding.at[1].set(embedding[2])}}
    diagnosis = stage.diagnose(
        dataclasses.replace(state, params=state.params | {"encoder": merged}), stage.resources({})
    )
    assert float(diagnosis["closest_codes"]) == pytest.approx(0, abs=1e-3) and diagnosis["alarm_collapse"] == 1


# --- Batches.


def numbered_walks(num_walks: int, length: int) -> Trajectories:
    """Every state, action and mask carries its own number: walk and time can be read off."""
    times = np.arange(num_walks * (length + 1)).reshape(num_walks, length + 1)
    return Trajectories(
        states=np.stack([times, -times], axis=-1).astype(np.int32),
        actions=times[:, :-1].astype(np.int32),
        legal_actions=(times[..., None] >> np.arange(10)) % 2 == 1,
    )


@pytest.mark.parametrize("horizon", [1, 3, 6])
def test_windows_are_pieces_of_the_recorded_walks_drawn_uniformly(horizon):
    num_walks, length, batch_size = 5, 6, 4000
    walks = numbered_walks(num_walks, length)
    sample = jax.jit(lambda walks, key: sample_windows(walks, batch_size, horizon, key))
    windows = jax.tree.map(np.asarray, sample(jax.tree.map(jnp.asarray, walks), jax.random.key(0)))
    walk, time = np.divmod(windows.states[:, 0, 0], length + 1)
    expected = walk[:, None], time[:, None] + np.arange(horizon + 1)
    assert expected[1].max() == length and expected[1].min() == 0
    np.testing.assert_array_equal(windows.states, walks.states[expected])
    np.testing.assert_array_equal(windows.legal_actions, walks.legal_actions[expected])
    np.testing.assert_array_equal(windows.actions, walks.actions[walk[:, None], expected[1][:, :-1]])
    num_places = num_walks * (length - horizon + 1)
    counts = np.bincount(walk * (length - horizon + 1) + time, minlength=num_places)
    mean = batch_size / num_places
    assert len(counts) == num_places and np.abs(counts - mean).max() < 5 * np.sqrt(mean)


# --- Schedules.


@pytest.mark.parametrize(("num_updates", "updates_per_call"), [(10, 4), (3, 50)])
def test_calls_of_unequal_length_are_refused(num_updates, updates_per_call):
    with pytest.raises(ValueError, match=f"got {num_updates} and {updates_per_call}"):
        Schedule(num_updates=num_updates, updates_per_call=updates_per_call)


def test_the_optimizer_is_adamw_warmed_up_decayed_and_clipped():
    """Adam's first step has the size of the learning rate: the changes show the schedule."""
    schedule = Schedule(num_updates=100, learning_rate=0.5, weight_decay=0.0, warmup_fraction=0.1, clip_norm=1.0)
    optimizer = schedule.optimizer()
    params = jnp.zeros(3)
    update = jax.jit(optimizer.update)
    state, sizes = optimizer.init(params), []
    for _ in range(100):
        change, state = update(jnp.array([3.0, -4.0, 0.0]), state, params)
        sizes.append(np.abs(change))
    sizes = np.array(sizes)
    expected = [0.5 * step / 10 if step < 10 else 0.25 * (1 + np.cos(np.pi * (step - 10) / 90)) for step in range(100)]
    np.testing.assert_allclose(sizes[:, 0], expected, atol=1e-4)
    assert (sizes[:, 2] == 0).all()
    clipped = optax.clip_by_global_norm(1.0).update(jnp.array([3.0, -4.0, 0.0]), optax.EmptyState())[0]
    np.testing.assert_allclose(state.inner[1][0].mu, clipped, atol=1e-4)
