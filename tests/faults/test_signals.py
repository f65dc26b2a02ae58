"""Asked to stop while it compiles, trains, grades or records: the end comes soon, and the same command continues.

(F3, F4) The bits of runs that a signal stops in either stage are compared in `tests/test_runs.py` as well.
"""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.programs import (
    assert_same_bits,
    digests,
    is_code_of,
    num_rows,
    results,
    signalled,
    wait_until,
)

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SECONDS_TO_EXIT = 5.0
"""Promised for a signal, behind the end of the running call, which here takes milliseconds."""
NUM_RECORDED = 700_000
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.fixture(scope="module")
def config(place) -> str:
    return place.config("tiles", num_updates=200)


@pytest.fixture(scope="module")
def unbroken(place, config) -> Path:
    return place.trained(config, "unbroken")


@pytest.fixture(scope="module")
def graded(place, unbroken) -> Path:
    """Results of that run which nothing has disturbed."""
    assert place.run("eval.py", unbroken, "--num-problems", 8, "--output-dir", "graded").returncode == 0
    return place.folder / "graded"


def output_so_far(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_while_training_saves_all(place, config, unbroken, figure, tmp_path, number):
    folder = tmp_path / "run"
    with place.start("train.py", config, "--run-dir", folder) as process:
        wait_until(lambda: num_rows(folder) >= 3, process)
        time.sleep(random.random())
        seconds = signalled(process, number)
        err = process.stderr.read()
    assert process.returncode == 128 + number
    assert f"{number.name}: stopped after" in err and "all saved; the same command continues" in err
    assert seconds < SECONDS_TO_EXIT
    rows = num_rows(folder)
    again = place.run("train.py", config, "--run-dir", folder)
    assert again.returncode == 0 and f"Resuming after {2 * rows} of 400 updates" in again.stderr
    assert_same_bits(folder, unbroken)
    figure("seconds_from_signal_to_exit", [seconds])


@pytest.mark.parametrize("delay", [0.5])
def test_a_signal_before_the_first_update_leaves_nothing_to_lose(place, config, unbroken, figure, tmp_path, delay):
    """Compilation is made long: it finds no program that was compiled before, and optimises."""
    folder, log = tmp_path / "run", tmp_path / "log"
    slow = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "empty"), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    environment = place.environment() | slow
    with (
        log.open("w") as file,
        place.start("train.py", config, "--run-dir", folder, env=environment, stderr=file) as process,
    ):
        wait_until(lambda: "recorded moves" in output_so_far(log), process)
        time.sleep(delay)
        assert num_rows(folder) == 0
        seconds = signalled(process, signal.SIGTERM)
    assert is_code_of(process.returncode, signal.SIGTERM) and seconds < SECONDS_TO_EXIT
    assert place.run("train.py", config, "--run-dir", folder).returncode == 0
    assert_same_bits(folder, unbroken)
    figure("seconds_from_signal_to_exit", [seconds])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_grading_leaves_no_half_result(place, unbroken, graded, figure, tmp_path, number):
    folder, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(unbroken, folder)
    words = ("eval.py", folder, "--num-problems", 3_000, "--problems-per-batch", 4)
    with log.open("w") as file, place.start(*words, stderr=file) as process:
        wait_until(lambda: "learned model" in output_so_far(log), process)
        seconds = signalled(process, number)
    assert is_code_of(process.returncode, number) and seconds < SECONDS_TO_EXIT
    assert digests(folder) == digests(unbroken)
    assert place.run("eval.py", folder, "--num-problems", 8).returncode == 0
    assert results(folder) == results(graded)
    figure("seconds_from_signal_to_exit", [seconds])


@pytest.fixture(scope="module")
def recorded(place, config) -> dict[str, str]:
    """What is recorded if nothing is in the way."""
    (place.folder / "undisturbed").mkdir()
    words = ("data/collect.py", place.folder / config, "--num-transitions", NUM_RECORDED)
    assert place.run(*words, cwd=place.folder / "undisturbed").returncode == 0
    return digests(place.folder / "undisturbed")


@pytest.mark.parametrize("seed", range(2))
def test_a_signal_while_recording_leaves_a_whole_dataset_or_none(place, config, recorded, figure, tmp_path, seed):
    """At some moment between the start of Python and the last byte."""
    words = ("data/collect.py", place.folder / config, "--num-transitions", NUM_RECORDED)
    with place.start(*words, cwd=tmp_path) as process:
        time.sleep(1.0 + 2.0 * random.Random(seed).random())
        seconds = signalled(process, signal.SIGTERM)
    assert seconds < SECONDS_TO_EXIT
    assert process.returncode == 0 or is_code_of(process.returncode, signal.SIGTERM)
    visible = [path for path in tmp_path.glob("data/recorded/*") if not path.name.startswith(".")]
    assert not visible or digests(tmp_path) == recorded
    assert place.run(*words, cwd=tmp_path).returncode == 0
    assert digests(tmp_path / "data" / "recorded" / next(iter(recorded)).split("/")[2]) == {
        name.split("/")[-1]: digest for name, digest in recorded.items()
    }
    figure("seconds_from_signal_to_exit", [seconds])


def test_a_second_interruption_does_not_wait_for_the_running_call(place, figure, tmp_path):
    config = place.config("long_calls", num_updates=1_200, updates_per_call=600)
    folder = tmp_path / "run"
    with place.start("train.py", config, "--run-dir", folder) as process:
        wait_until(lambda: num_rows(folder) == 1, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        seconds = signalled(process, signal.SIGINT)
    assert is_code_of(process.returncode, signal.SIGINT) and seconds < 1.0
    assert num_rows(folder) == 1, "the call was waited for, or calls are too short for this test"
    figure("seconds_from_second_signal_to_exit", [seconds])
