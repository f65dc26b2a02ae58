"""Disks that are full, folders that cannot be written, logs that fail: said in a sentence, and nothing is lost.

(F14, F15, F23, F26) Full disks under single files are in `tests/test_checkpoint.py` and `tests/test_run_log.py`.
"""

import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from jepa.checkpoint import Checkpoints
from jepa.run_config import read_config
from jepa.run_log import RunLog
from jepa.runs import train
from tests.faults.programs import Workplace, assert_same_bits, digests, is_clear_refusal, num_rows

pytestmark = pytest.mark.faults
slow = pytest.mark.slow

NUM_UPDATES = 40
UNWRITABLE = "/proc/runs/seed0"
"""Where not even root can make a folder."""


def full_disk(place: Workplace, num_bytes: int) -> dict[str, Any]:
    """Returns how a program starts whose files cannot be larger; what others have compiled it does not cut short."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))

    return {
        "preexec_fn": limit,
        "env": place.environment() | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1000000"},
    }


@pytest.fixture
def before_the_end(unbroken, tmp_path) -> Path:
    """The run as it was before its last checkpoint."""
    shutil.copytree(unbroken, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "00000080")
    return tmp_path / "run"


@slow
def test_a_full_disk_under_the_log_ends_training(place, config, unbroken, tmp_path):
    """It holds config.json and some rows, but not all of them."""
    folder = tmp_path / "run"
    ended = place.run("train.py", config, "--run-dir", folder, **full_disk(place, 5_000))
    assert is_clear_refusal(ended), ended.stderr
    assert f"{folder / 'metrics.jsonl'} could not be written: File too large. Free disk space" in ended.stderr
    assert 5 < num_rows(folder) < 20
    ended = place.run("train.py", config, "--run-dir", folder)
    assert ended.returncode == 0, ended.stderr
    assert_same_bits(folder, unbroken)


@slow
def test_a_full_disk_under_the_last_checkpoint_costs_only_time(place, config, unbroken, before_the_end):
    """The last save is an asynchronous one: its error is not lost."""
    words = ("train.py", config, "--run-dir", before_the_end)
    ended = place.run(*words, **full_disk(place, 18_000))
    assert is_clear_refusal(ended), ended.stderr
    assert f"checkpoint 80 could not be written to {before_the_end / 'checkpoints'}" in ended.stderr
    assert "File too large" in ended.stderr and "free disk space" in ended.stderr
    assert Checkpoints(before_the_end / "checkpoints").steps == [78]
    ended = place.run(*words)
    assert ended.returncode == 0 and "Resuming after 78 of 80 updates" in ended.stderr
    assert_same_bits(before_the_end, unbroken)


@slow
def test_a_full_disk_under_the_results_leaves_the_old_ones(place, unbroken, tmp_path):
    folder = tmp_path / "results"
    words = ("eval.py", unbroken, "--num-problems", 20, "--output-dir", folder)
    assert place.run(*words).returncode == 0
    before = digests(folder)
    ended = place.run(*words, **full_disk(place, 2_000))
    assert is_clear_refusal(ended), ended.stderr
    assert f"{folder / 'records.jsonl'} could not be written: File too large" in ended.stderr
    assert digests(folder) == before


@slow
def test_tensorboard_fails_without_harm(place, config, unbroken, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "tensorboard").write_text("in the way")
    ended = place.run("train.py", config, "--run-dir", folder)
    assert ended.returncode == 0
    assert ended.stderr.count("warning: TensorBoard gets no more numbers") == 2  # One for each stage.
    assert "Traceback" not in ended.stderr
    assert_same_bits(folder, unbroken)


@slow
def test_a_torn_row_is_no_row(place, config, unbroken, before_the_end):
    log = before_the_end / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-100])
    assert place.run("train.py", config, "--run-dir", before_the_end).returncode == 0
    assert_same_bits(before_the_end, unbroken)


@pytest.mark.slow
def test_the_last_update_is_saved_however_long_the_interval(unbroken, place, tmp_path, monkeypatch):
    """In this process; and an error of that very last save ends the run with an error."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place.folder / "data", tmp_path / "data")
    experiment = read_config(unbroken)
    train(experiment, tmp_path / "run", lambda text: None, seconds_between_checkpoints=1e9)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps == [40, 80]
    assert_same_bits(tmp_path / "run", unbroken)
    write, before = RunLog.write, resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_and_fill_the_disk(self, num_updates_done, metrics):
        write(self, num_updates_done, metrics)
        if self._stage == "cost" and num_updates_done == 40:
            resource.setrlimit(resource.RLIMIT_FSIZE, (18_000, before[1]))

    monkeypatch.setattr(RunLog, "write", write_and_fill_the_disk)
    try:
        with pytest.raises(ValueError, match="checkpoint 80 could not be written"):
            train(experiment, tmp_path / "other", lambda text: None, seconds_between_checkpoints=1e9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Checkpoints(tmp_path / "other" / "checkpoints").steps == [40]


@pytest.mark.parametrize("where", [UNWRITABLE, "file", "file/run", "."])
def test_a_folder_that_cannot_be_a_run_is_refused_at_once(place, tmp_path, where):
    """Before anything is compiled or recorded; "." holds something that a run would have to write over."""
    config = place.config("refused", num_updates=40)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "checkpoints").write_text("mine")
    before = digests(tmp_path)
    began = time.monotonic()
    ended = place.run("train.py", place.folder / config, "--run-dir", where, cwd=tmp_path)
    seconds = time.monotonic() - began
    assert is_clear_refusal(ended), ended.stderr
    assert {UNWRITABLE: "cannot write a run to", ".": "checkpoints", "file/run": "cannot write a run to"}.get(
        where, "expected a folder for the run"
    ) in ended.stderr
    assert len(ended.stderr.splitlines()) == 2, "one line, and how to see more"
    assert digests(tmp_path) == before
    assert seconds < 10.0, "it has compiled"
