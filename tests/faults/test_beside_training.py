"""A run is graded while it is trained: never half a checkpoint, always a result or a clear word. (F25)"""

import warnings

import pytest

from jepa.alarms import read_alarms
from jepa.checkpoint import Checkpoints
from jepa.run_config import read_config
from jepa.runs import load_run, untrained_states
from tests.faults.programs import is_clear_refusal, num_rows, wait_until

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NUM_READ = 98
NUM_GRADED = 2


def test_a_hundred_evaluations_beside_a_training(place, figure, tmp_path):
    """It saves behind every call, a few milliseconds long, so that what is read is deleted again and again."""
    config, folder = place.cloning("long", num_updates=40_000), tmp_path / "run"
    with place.start("train.py", config, "--run-dir", folder, "--seconds-between-checkpoints", 0) as training:
        wait_until(lambda: num_rows(folder) > 0, training)
        abstract, steps = untrained_states(read_config(folder)), []
        wait_until(lambda: Checkpoints(folder / "checkpoints").steps != [], training)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(NUM_READ):
                read_alarms(folder)
                found = Checkpoints(folder / "checkpoints").restore(abstract)
                assert sum(int(state.num_updates) for state in found.state.values()) == found.step
                steps.append(found.step)
        with pytest.raises(ValueError, match="is trained only to .* of 40,000 updates"):
            load_run(folder, read_config(folder))
        for _ in range(NUM_GRADED):
            ended = place.run("eval.py", folder)
            assert is_clear_refusal(ended) and "is trained only to" in ended.stderr, ended.stderr
            assert "warning" not in ended.stderr
        assert training.poll() is None
        training.kill()
    assert steps == sorted(steps) and len(set(steps)) > NUM_READ // 2
    figure("evaluations_beside_training", NUM_READ + NUM_GRADED)
    figure("evaluations_beside_training_errors", 0)
