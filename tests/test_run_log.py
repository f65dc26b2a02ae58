"""The log of a run: each update once, whatever kills the run, and exact numbers."""

import io
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jepa
from jepa import run_log
from jepa.latents import histogram
from jepa.run_log import RunLog, provenance, read_jsonl, write_json_atomic

STAGE = {"stage": "world_model", "num_updates": 100, "batch_size": 8}


def write_rows(folder: Path, steps: list[int], **settings: Any) -> None:
    with RunLog(folder, **(STAGE | settings)) as log:
        for step in steps:
            log.write(step, {"loss": 1.0 / step})


def logged(folder: Path, stage: str = "world_model") -> list[int]:
    return [row["num_updates"] for row in read_jsonl(folder / "metrics.jsonl") if row["stage"] == stage]


def tensorboard_scalars(folder: Path, name: str) -> dict[int, float]:
    """What TensorBoard itself shows of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


# The record.


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    metrics = {
        "loss": jnp.float32(0.1),
        "half": np.array(1 / 3, ml_dtypes.bfloat16),
        "double": 0.1,
        "count": jnp.int32(7),
        "flag": np.True_,
        "bad": jnp.nan,
        "worse": -np.inf,
    }
    before = time.time()
    with RunLog(tmp_path / "run", **STAGE) as log:
        log.write(5, metrics)
        (row,) = read_jsonl(tmp_path / "run" / "metrics.jsonl")  # Readable before the end.
    assert list(row)[:4] == ["stage", "num_updates", "unix_time_seconds", "samples_per_second"]
    assert (row["stage"], row["num_updates"]) == ("world_model", 5)
    assert before - 1 < row["unix_time_seconds"] < time.time() + 1
    assert row["samples_per_second"] > 0
    assert row["loss"] == float(np.float32(0.1))
    assert row["half"] == float(metrics["half"])
    assert (row["double"], row["count"], row["flag"], row["worse"]) == (0.1, 7, 1, -math.inf)
    assert math.isnan(row["bad"])
    # Strict JSON: readable by programs that know no NaN.
    json.loads((tmp_path / "run" / "metrics.jsonl").read_text(), parse_constant=pytest.fail)


def test_resuming_drops_later_rows_of_its_stage_only(tmp_path: Path) -> None:
    write_rows(tmp_path, [10, 20, 30])
    write_rows(tmp_path, [25, 50], stage="cost")
    before = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    write_rows(tmp_path, [21, 30, 40], num_updates_done=20)
    assert logged(tmp_path) == [10, 20, 21, 30, 40]
    assert logged(tmp_path, "cost") == [25, 50]
    assert (tmp_path / "metrics.jsonl").read_bytes().splitlines()[:4] == before[:2] + before[3:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


@pytest.mark.parametrize("torn", [b'{"stage": "world_mo', b'{"stage": "world_model", "loss": 0.1', b"\0\0\0", b"{\xff"])
def test_a_torn_last_line_is_left_out_and_removed(tmp_path: Path, torn: bytes) -> None:
    write_rows(tmp_path, [10, 20])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert logged(tmp_path) == [10, 20]
    write_rows(tmp_path, [30], num_updates_done=20)
    assert logged(tmp_path) == [10, 20, 30]


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    write_rows(tmp_path, [10, 20])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert logged(tmp_path) == [10, 20]
    write_rows(tmp_path, [30], num_updates_done=20)
    assert logged(tmp_path) == [10, 20, 30]


@pytest.mark.parametrize("line", ["{", "[1]", "3"])
def test_a_broken_line_elsewhere_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    with pytest.raises(ValueError, match=rf"line 2 of {path} must be a JSON object"):
        read_jsonl(path)


def test_a_killed_run_keeps_every_written_row(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from jepa.run_log import RunLog
with RunLog(Path({str(tmp_path)!r}), stage="world_model", num_updates=100, batch_size=8) as log:
    for step in (1, 2, 3):
        log.write(step, {{"loss": 0.5}})
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, timeout=60).returncode == -signal.SIGKILL
    assert logged(tmp_path) == [1, 2, 3]
    assert set(tensorboard_scalars(tmp_path / "tensorboard" / "world_model", "loss")) == {1, 2, 3}


def test_a_row_that_does_not_fit_on_the_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    expected = pytest.raises(ValueError, match=r"metrics\.jsonl could not be written: .*run the same command again")
    with warnings.catch_warnings(), expected:
        warnings.simplefilter("ignore")  # TensorBoard's file is full as well.
        with RunLog(tmp_path, **STAGE) as log:
            log.write(1, {"loss": 1.0})
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            try:
                log.write(2, {"loss": 1.0})
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [row["num_updates"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1]


@pytest.mark.parametrize(
    ("step", "metrics", "message"),
    [
        (10, {"loss": 1.0}, "num_updates_done must be larger than 10 of stage world_model, got 10"),
        (20, {"loss": np.ones(2)}, r"metric loss must be one number, got float64\[2\]"),
        (20, {"loss": "low"}, "metric loss must be one number, got <U3"),
        (20, {"loss": None}, "metric loss must be one number, got object"),
        (20, {"stage": 1.0}, r"own names, got \['stage'\]"),
    ],
)
def test_bad_rows_are_refused_and_leave_no_trace(
    tmp_path: Path, step: int, metrics: dict[str, Any], message: str
) -> None:
    with RunLog(tmp_path, **STAGE) as log:
        log.write(10, {"loss": 1.0})
        with pytest.raises(ValueError, match=message):
            log.write(step, metrics)
        log.write(20, {"loss": 1.0})
    assert logged(tmp_path) == [10, 20]


# TensorBoard.


def test_tensorboard_shows_each_update_once_after_a_resume(tmp_path: Path) -> None:
    write_rows(tmp_path, [10, 20, 30])
    write_rows(tmp_path, [21, 40], num_updates_done=20)
    write_rows(tmp_path, [5], stage="cost")
    losses = tensorboard_scalars(tmp_path / "tensorboard" / "world_model", "loss")
    assert losses == {step: pytest.approx(1 / step) for step in (10, 20, 21, 40)}
    speeds = tensorboard_scalars(tmp_path / "tensorboard" / "world_model", "samples_per_second")
    assert set(speeds) == set(losses)
    assert set(tensorboard_scalars(tmp_path / "tensorboard" / "cost", "loss")) == {5}


def test_histograms_go_to_tensorboard_alone(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    latents = np.random.default_rng(0).normal(size=(50, 8))
    with RunLog(tmp_path, **STAGE) as log:
        log.write(10, {"loss": 1.0, "latents": tuple(histogram(jnp.asarray(latents)).tolist())})
    assert "latents" not in read_jsonl(tmp_path / "metrics.jsonl")[0]
    events = EventAccumulator(str(tmp_path / "tensorboard" / "world_model"))
    events.Reload()
    (event,) = events.Histograms("latents")
    found = event.histogram_value
    assert (event.step, found.num) == (10, latents.size)
    below = sum(count for limit, count in zip(found.bucket_limit, found.bucket, strict=True) if limit <= 0)
    assert below == (latents < 0).sum()
    assert found.min <= latents.min() and found.max >= latents.max()
    assert found.sum / found.num == pytest.approx(latents.mean(), abs=0.02)


def test_tensorboard_that_cannot_start_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").touch()
    with pytest.warns(UserWarning, match="TensorBoard gets no more numbers") as caught:
        write_rows(tmp_path, [10, 20])
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1
    assert logged(tmp_path) == [10, 20]


def test_a_missing_tensorboardx_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.warns(UserWarning, match="ModuleNotFoundError|ImportError") as caught:
        write_rows(tmp_path, [10, 20])
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1
    assert logged(tmp_path) == [10, 20]


def test_a_full_disk_under_tensorboard_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda path: open("/dev/full", "wb"))
    with pytest.warns(UserWarning, match="TensorBoard gets no more numbers.*No space left") as caught:
        write_rows(tmp_path, list(range(1, 51)))  # More than the queue of a `SummaryWriter` takes.
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1
    assert logged(tmp_path) == list(range(1, 51))


# Progress.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_stderr_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path, [10, 20, 100])
    out, err = capsys.readouterr()
    first, last = err.splitlines()  # The second row came within ten seconds.
    assert re.fullmatch(r"world_model: 10/100 updates, 0:00:0\d left, loss 0\.1, [\d,]+ samples/s", first)
    assert re.fullmatch(r"world_model: 100/100 updates, 0:00:00 left, loss 0\.01, [\d,]+ samples/s", last)
    assert out == ""


def test_a_line_every_ten_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(np.arange(0.0, 1000.0, 1.5))  # Every look at the clock is 1.5 s later.
    monkeypatch.setattr(run_log.time, "monotonic", lambda: next(seconds))
    write_rows(tmp_path, list(range(51, 81)), num_updates_done=50)
    shown = [int(step) for step in re.findall(r"(\d+)/100", capsys.readouterr().err)]
    assert shown[0] == 51
    assert 5 <= len(shown) <= 15


def test_a_bar_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    stdout = sys.stdout
    with RunLog(tmp_path, **STAGE, num_updates_done=40) as log:
        assert sys.stdout is stdout
        log.write(60, {"loss": 0.25})
    shown = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", sys.stderr.getvalue())
    assert re.search(r"world_model .* 60/100 0:00:0\d left, loss 0\.25, [\d,]+ samples/s", shown)


# Files.


def test_json_is_replaced_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "a" / "results.json"
    write_json_atomic(path, {"x": [1, 0.1]})
    assert json.loads(path.read_text()) == {"x": [1, 0.1]}
    for bad in (math.nan, object()):
        with pytest.raises((ValueError, TypeError)):
            write_json_atomic(path, {"x": bad})
    with path.open() as opened_before:
        write_json_atomic(path, {"x": 2})
        assert json.load(opened_before) == {"x": [1, 0.1]}
    assert json.loads(path.read_text()) == {"x": 2}
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_json_that_does_not_fit_on_the_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json_atomic(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(ValueError, match=r"results\.json could not be written: File too large\. Free disk"):
            write_json_atomic(path, "new" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert json.loads(path.read_text()) == "old"


# Provenance.


def test_provenance_is_complete_and_holds_no_path(tmp_path: Path) -> None:
    record = provenance()
    write_json_atomic(tmp_path / "provenance.json", record)
    assert (record["jepa"], record["versions"]["jax"]) == (jepa.__version__, jax.__version__)
    assert record["versions"]["numpy"] == np.__version__
    assert all(record["versions"].values())
    assert (record["num_cpus"], record["num_devices"]) == (os.cpu_count(), jax.device_count())
    assert record["device_kind"] == jax.devices()[0].device_kind
    assert str(Path(__file__).parents[2]) not in json.dumps(record)
    assert str(Path.home()) not in json.dumps(record)


@pytest.mark.parametrize("checkout", ["none", "around", "clean", "changed"])
def test_provenance_knows_its_own_commit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: str) -> None:
    package = tmp_path / "project" / "jepa"
    package.mkdir(parents=True)
    (package / "run_log.py").touch()
    monkeypatch.setattr(run_log, "__file__", str(package / "run_log.py"))

    def git(*arguments: str) -> str:
        root = tmp_path if checkout == "around" else tmp_path / "project"
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(root), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    if checkout != "none":
        git("init")
        git("add", ".")
        git("commit", "-m", "first")
    if checkout == "changed":
        (package / "new.py").touch()
    record = provenance()
    if checkout in ("none", "around"):
        assert (record["git_commit"], record["git_dirty"]) == (None, None)
    else:
        assert (record["git_commit"], record["git_dirty"]) == (
            git("rev-parse", "HEAD"),
            checkout == "changed",
        )


def test_logging_causes_no_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_rows(tmp_path, [10, 100])
