"""The same training and the same plans on four devices as on one; the devices live in a process of their own."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
FOUR, ONE = 0, 1


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    result = subprocess.run(
        [sys.executable, "-m", "tests.mesh_program"],
        cwd=ROOT,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "4",
            "JEPA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_batch_is_spread_over_the_devices_and_the_same_for_any_number_of_them(report):
    assert report["num_devices"] == 4
    assert [window["num_shards"] for window in report["windows"]] == [4, 1]
    assert report["windows"][FOUR]["states"] == report["windows"][ONE]["states"]


@pytest.mark.parametrize("stage", ["world_model", "cost"])
def test_losses_do_not_depend_on_the_number_of_devices(report, stage):
    four, one = (losses[stage] for losses in report["losses"])
    assert len(four) == len(one) == 5
    for of_four, of_one in zip(four, one, strict=True):
        assert of_four.keys() == of_one.keys()
        for name, value in of_one.items():
            assert of_four[name] == pytest.approx(value, rel=1e-5), name


def test_plans_do_not_depend_on_the_number_of_devices(report):
    assert report["plans"][FOUR] == report["plans"][ONE]


def test_the_learned_model_solves_small_puzzles(report):
    """What was compared is worth comparing: 600 updates, and nearly all plans on 2x3 tiles are optimal."""
    plans = {name: np.array(values) for name, values in report["plans"][FOUR].items()}
    assert plans["solved"].mean() >= 0.9
    assert (plans["plan_lengths"] - plans["optimal_lengths"])[plans["solved"]].mean() < 1


def test_batches_that_cannot_be_split_are_refused(report):
    refusals = report["refusals"]
    assert refusals.pop("batch of 64") is None
    for what, message in refusals.items():
        assert message is not None, what
        assert "over 4 devices" in message and "multiple of 4" in message
    assert "a batch of 30" in refusals["batch of 30"]
