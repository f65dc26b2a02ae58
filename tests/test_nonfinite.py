"""Gradients that are not finite: skipped bit for bit, counted, and the end of training when they go on. (F17, F18)"""

import dataclasses
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, debug
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.nonfinite import MAX_SKIPPED_IN_ROW, num_skipped, skip_nonfinite
from jepa.run_log import read_jsonl
from jepa.runs import load_run, train
from jepa.training import ModuleStage, Schedule

pytestmark = pytest.mark.faults

PARAMS = {"a": jnp.ones(3), "b": {"c": jnp.full((2, 2), 2.0)}}
GOOD = jax.tree.map(lambda leaf: 0.1 * leaf, PARAMS)
BAD_VALUES = {"nan": jnp.nan, "inf": jnp.inf, "-inf": -jnp.inf}


def bad(value: float) -> dict:
    return GOOD | {"b": {"c": GOOD["b"]["c"].at[1, 0].set(value)}}


def after(*gradients: dict) -> tuple[dict, object]:
    optimizer = skip_nonfinite(optax.adamw(optax.linear_schedule(0.1, 0.0, 10)))
    params, state = PARAMS, optimizer.init(PARAMS)
    for gradient in gradients:
        changes, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, changes)
    return params, state


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_gradient_leaves_parameters_momenta_and_learning_rate(value):
    clean, broken = after(GOOD, GOOD), after(bad(value), GOOD, bad(value), bad(value), GOOD)
    jax.tree.map(np.testing.assert_array_equal, (clean[0], clean[1].inner), (broken[0], broken[1].inner))
    assert (num_skipped(clean[1]), num_skipped(broken[1])) == (0, 3)
    assert (int(clean[1].bad_leaf), int(broken[1].bad_leaf)) == (-1, 1)
    assert (int(broken[1].num_skipped_in_row), int(broken[1].most_skipped_in_row)) == (0, 2)


def test_a_change_that_overflows_is_skipped_too():
    overflowing = skip_nonfinite(optax.scale(1e30))
    changes, state = overflowing.update({"a": jnp.array([1e30])}, overflowing.init({"a": jnp.zeros(1)}))
    assert (float(changes["a"][0]), num_skipped(state)) == (0.0, 1)


def experiment(num_updates: int) -> Experiment:
    env, schedule = SlidingTiles(rows=2, columns=3), Schedule(num_updates=num_updates, updates_per_call=4, batch_size=8)
    small = debug(Experiment(env=env, behaviour=NonBacktrackingWalks(walk_length=14)))
    agent = dataclasses.replace(small.agent, world_model_training=schedule, cost_training=schedule)
    return dataclasses.replace(small, num_transitions=70, agent=agent)


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Makes gradients NaN in updates that a test chooses; recorded moves lie beside the run."""
    monkeypatch.setattr("jepa.runs.DATA_ROOT", tmp_path / "data")
    apply = ModuleStage.apply_gradients

    def breaking(is_bad):
        def apply_gradients(self, state, gradients, target):
            factor = jnp.where(is_bad(state.num_updates), jnp.nan, 1.0)
            return apply(self, state, jax.tree.map(lambda leaf: leaf * factor, gradients), target)

        monkeypatch.setattr(ModuleStage, "apply_gradients", apply_gradients)

    return breaking


def is_finite(folder: Path) -> bool:
    leaves = jax.tree.leaves(load_run(folder, experiment(8)).params)
    return bool(leaves) and all(np.isfinite(leaf).all() for leaf in leaves)


def test_training_goes_on_after_bad_updates_and_counts_them(broken, tmp_path):
    broken(lambda update: (update == 1) | (update == 6))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        train(experiment(8), tmp_path / "run", lambda text: None)
    said = [str(warning.message) for warning in heard if "finite gradients" in str(warning.message)]
    assert said == [
        f"stage {stage} skipped updates without finite gradients before {done}: 1"
        for stage in ("world_model", "cost")
        for done in (4, 8)
    ]
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [row["num_skipped_updates"] for row in rows] == [1, 2, 1, 2]
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert is_finite(tmp_path / "run")


@pytest.mark.slow
def test_training_ends_when_no_update_is_good_any_more(broken, tmp_path):
    broken(lambda update: update >= 5)
    message = "stage world_model were not finite in 7 updates one after another before update 12"
    with pytest.raises(ValueError, match=message) as raised, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(experiment(16), tmp_path / "run", lambda text: None, seconds_between_checkpoints=0.0)
    assert "first in ['" in str(raised.value)
    assert 3 < MAX_SKIPPED_IN_ROW <= 7  # Those of the call before the last did not suffice.
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert saved == ["00000004", "00000008"]
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [(row["num_updates"], row["num_skipped_updates"]) for row in rows] == [(4, 0), (8, 3)]
