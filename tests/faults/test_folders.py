"""Run folders: one training at a time, no other experiment than before, and a home anywhere. (F16, F19, F29)"""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.faults.programs import assert_same_bits, digests, is_clear_refusal, num_rows, results, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

NUM_UPDATES = 20


@pytest.fixture
def copy(unbroken, tmp_path) -> Path:
    """The run under another name elsewhere, as it was before its last checkpoint."""
    shutil.copytree(unbroken, tmp_path / "renamed")
    shutil.rmtree(tmp_path / "renamed" / "checkpoints" / "00000040")
    return tmp_path / "renamed"


def test_a_second_training_is_refused_and_the_lock_dies_with_its_process(place, tmp_path):
    config, folder = place.config("long", num_updates=2_000), tmp_path / "run"
    with place.start("train.py", config, "--run-dir", folder) as first:
        wait_until(lambda: num_rows(folder) > 0, first)
        second = place.run("train.py", config, "--run-dir", folder)
        assert first.poll() is None
        first.kill()
    assert is_clear_refusal(second), second.stderr
    assert f"is in use by process {first.pid} on host {socket.gethostname()}" in second.stderr
    with place.start("train.py", config, "--run-dir", folder) as third:
        before = num_rows(folder)
        wait_until(lambda: num_rows(folder) != before, third)
        third.kill()


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (("--cost.head.hidden-width", 17), "--cost.head.hidden-width: 16 -> 17"),
        (("--num-transitions", 84), "--num-transitions: 70 -> 84"),
        (("--cost-training.learning-rate", 0.5), "--cost-training.learning-rate: 0.001 -> 0.5"),
        (("--seed", 1), "--seed: 0 -> 1"),
        (("--env.columns", 2), "--env.columns: 3 -> 2"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_another_experiment_does_not_continue_a_run(place, config, copy, words, difference):
    before = digests(copy)
    ended = place.run("train.py", config, "--run-dir", copy, *words)
    assert is_clear_refusal(ended), ended.stderr
    assert f"{copy} holds a run of another experiment:\n  {difference}\nChoose another folder" in ended.stderr
    assert digests(copy) == before


def test_planner_and_problems_may_change_on_the_way(place, config, unbroken, copy):
    words = ("--planner.width", 3, "--num-problems", 7, "--problem-seed", 1)
    ended = place.run("train.py", config, "--run-dir", copy, *words)
    assert ended.returncode == 0 and "Resuming after 38 of 40 updates" in ended.stderr
    assert "which change nothing in training:\n  --planner.width: 8 -> 3\n" in ended.stderr
    changed = json.loads((copy / "provenance.json").read_text())["changed"]
    assert changed.keys() == {"num_problems", "problem_seed", "planner.width"}
    assert_same_bits(copy, unbroken)


def test_a_run_that_was_copied_and_renamed_goes_on_where_it_is(place, config, unbroken, copy):
    ended = place.run("train.py", config, "--run-dir", copy)
    assert ended.returncode == 0 and "Resuming after 38 of 40 updates" in ended.stderr
    assert_same_bits(copy, unbroken)


def test_a_run_is_graded_without_being_written_to(place, unbroken, tmp_path):
    """As on a disk that can only be read; for most users the access rights say so here, for root they do not."""
    shutil.copytree(unbroken, tmp_path / "renamed")
    for path in (tmp_path / "renamed", *(tmp_path / "renamed").rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = digests(tmp_path / "renamed")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "renamed").rglob("*")}
    try:
        for folder, output in ((unbroken, "a"), (tmp_path / "renamed", "b")):
            ended = place.run("eval.py", folder, "--num-problems", 5, "--output-dir", tmp_path / output)
            assert ended.returncode == 0, ended.stderr
        assert results(tmp_path / "a") == results(tmp_path / "b")
        assert digests(tmp_path / "renamed") == before
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "renamed").rglob("*")} == times
        if os.geteuid():
            ended = place.run("eval.py", tmp_path / "renamed", "--num-problems", 5)
            assert is_clear_refusal(ended) and "choose --output-dir" in ended.stderr
    finally:
        for path in (tmp_path / "renamed", *(tmp_path / "renamed").rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def test_a_run_remembers_no_place(place, unbroken):
    traces = {str(place.folder).encode(), place.folder.name.encode(), str(Path.home()).encode()}
    # Orbax says there to people where it wrote; nothing reads it.
    files = [path for path in unbroken.rglob("*") if path.is_file() and path.name != "commit_success.txt"]
    assert len(files) > 20
    assert [path for path in files if any(trace in path.read_bytes() for trace in traces)] == []
