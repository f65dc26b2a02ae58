"""Several processes that train together: signals, deaths, errors, hangs, other experiments, other numbers. (F5-F11)"""

import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from jepa.run_log import read_jsonl
from tests.faults.programs import (
    CLOCK,
    OFTEN,
    Workplace,
    assert_same_bits,
    digests,
    is_clear_refusal,
    loss_rows,
    num_rows,
    params,
    results,
    signalled,
    stray,
)
from tests.faults.several import Several, run_several

pytestmark = [pytest.mark.faults, pytest.mark.slow]

BATCHES = "tests/faults/batches_program.py"
BROKEN = "tests/faults/broken_train.py"
NUM_UPDATES = 40


@pytest.fixture(scope="module")
def config(place) -> str:
    """Of one stage, which compiles in seconds: JAX does so anew in every one of several processes."""
    return place.cloning("cloning", NUM_UPDATES)


@pytest.fixture(scope="module")
def unbroken(place, config) -> Path:
    """Trained by one process on two devices."""
    return place.trained(config, "unbroken", devices=2)


@pytest.fixture(scope="module")
def by_two(place) -> Path:
    """A world model and a cost, trained by two processes."""
    ends = run_several(place, 2, "train.py", place.config("tiles", 20), "--run-dir", "by_two")
    assert [end.returncode for end in ends] == [0, 0], ends
    return place.folder / "by_two"


def at_row(several: Several, folder: Path, row: int) -> None:
    while num_rows(folder) < row:
        assert all(process.poll() is None for process in several.processes), several.said()
        assert time.monotonic() - several.began < 100, several.said()
        time.sleep(0.005)


def test_two_processes_compute_what_two_devices_of_one_do(place, by_two, figure):
    compared(figure, assert_same_bits(by_two, place.trained("tiles.py", "by_one", devices=2)))


def compared(figure, num_rows: int) -> None:
    figure("loss_rows_compared", num_rows)
    figure("loss_rows_bit_equal", num_rows)


def test_only_the_first_process_speaks_and_writes(place, by_two):
    before = digests(by_two)
    first, second = run_several(place, 2, "train.py", "tiles.py", "--run-dir", "by_two")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Nothing to do" in first.stderr
    assert re.fullmatch(r"process 1 of 2 at \S+: waiting for the others, at most 300 s\n", second.stderr)
    assert digests(by_two) == before


def test_two_processes_plan_what_two_devices_of_one_do(place, unbroken):
    words = ("eval.py", "unbroken", "--num-problems", 21)
    assert place.run(*words, "--output-dir", "graded_by_one", devices=2).returncode == 0
    ends = run_several(place, 2, *words, "--output-dir", "graded_by_two")
    assert [end.returncode for end in ends] == [0, 0], ends
    assert results(place.folder / "graded_by_two") == results(place.folder / "graded_by_one")


@pytest.mark.parametrize("number", [0, 1])
def test_a_signal_to_one_process_stops_all_at_the_same_update(place, config, unbroken, number, figure):
    run = f"signalled{number}"
    with Several(place, 2, "train.py", config, "--run-dir", run) as several:
        at_row(several, place.folder / run, 3)
        figure("seconds_from_signal_to_exit", [signalled(several.processes[number], signal.SIGTERM)])
        ends = several.wait()
    assert [end.returncode for end in ends] == [128 + signal.SIGTERM] * 2, ends
    saved = [re.search(r"stopped after (\d+) updates, all saved", end.stderr).group(1) for end in ends]
    assert saved[0] == saved[1]
    checkpoints = sorted(path.name for path in (place.folder / run / "checkpoints").iterdir())
    assert checkpoints[-1] == f"{int(saved[0]):08d}" and stray(place.folder / run) == []
    if number == 0:
        return  # To continue takes as long again, and shows nothing else.
    again = run_several(place, 2, "train.py", config, "--run-dir", run)
    assert [end.returncode for end in again] == [0, 0], again
    compared(figure, assert_same_bits(place.folder / run, unbroken))


@pytest.fixture(scope="module")
def halved(place, config) -> Path:
    """Saved after 10 of 80 updates by two processes, of which the second was then killed."""
    with Several(place, 2, "train.py", config, "--run-dir", "halved", *OFTEN) as several:
        at_row(several, place.folder / "halved", 5)
        killed = time.monotonic() - several.began
        several.processes[1].kill()
        survivor = several.wait()[0]
    assert survivor.returncode not in (0, None)
    # In our words, or in those of JAX, which ends the process in the same moment.
    named = re.search(r"process 1 has ended without a word|unhealthy[^\n]*\n1\n", survivor.stderr)
    assert named, survivor.stderr
    (place.folder / "halved" / "seconds").write_text(str(survivor.seconds - killed))
    return place.folder / "halved"


def test_a_process_does_not_outlive_another_for_long(halved, figure):
    seconds = float((halved / "seconds").read_text())
    figure("seconds_from_kill_to_end_of_survivor", [seconds])
    assert seconds <= 15


def test_the_others_do_not_outlive_the_coordinator_for_long(place, config, figure):
    with Several(place, 2, "train.py", config, "--run-dir", "beheaded") as several:
        at_row(several, place.folder / "beheaded", 3)
        killed = time.monotonic() - several.began
        several.processes[0].kill()
        survivor = several.wait()[1]
    assert survivor.returncode != 0
    figure("seconds_from_kill_to_end_of_survivor", [survivor.seconds - killed])
    assert survivor.seconds - killed <= 15


@pytest.mark.parametrize(("devices", "is_same"), [(1, False), (2, True), (4, False)])
def test_one_process_continues_what_two_have_begun(place, config, unbroken, halved, devices, is_same, figure):
    """Equal numbers of devices give equal bits; others round differently, by which losses drift apart slowly."""
    folder = place.folder / f"resumed_on_{devices}"
    shutil.copytree(halved, folder)
    ended = place.run("train.py", config, "--run-dir", folder.name, devices=devices)
    assert ended.returncode == 0 and "Resuming after" in ended.stderr, ended.stderr
    if is_same:
        assert loss_rows(folder) == loss_rows(unbroken) and params(folder) == params(unbroken)
        compared(figure, len(loss_rows(folder)))
        return
    assert_close(folder, unbroken)


def assert_close(folder: Path, other: Path) -> None:
    """Compares the first 20 rows of losses."""
    ours, others = (read_jsonl(run / "metrics.jsonl")[:20] for run in (folder, other))
    for one, two in zip(ours, others, strict=True):
        assert one["stage"] == two["stage"]
        for name in two.keys() - {*CLOCK, "stage"}:
            assert one[name] == pytest.approx(two[name], rel=1e-5), name


def test_four_processes_compute_what_four_devices_of_one_do(place, config):
    """Up to rounding: they add up four summands in another order."""
    one = place.trained(config, "four_devices", devices=4)
    ends = run_several(place, 4, "train.py", config, "--run-dir", "four_processes")
    assert [end.returncode for end in ends] == [0] * 4, ends
    assert_close(place.folder / "four_processes", one)


def test_any_number_of_processes_sees_the_same_batches(place):
    one, two, four = place.run(BATCHES), batches(place, 2), batches(place, 4)
    assert len(set(two[0])) == 100
    assert all(found == two[0] for found in (*two, *four, digests_of_batches(one.stderr)))


def digests_of_batches(said: str) -> list[str]:
    return re.findall(r"^[0-9a-f]{64}$", said, re.MULTILINE)


def batches(place: Workplace, num_processes: int) -> list[list[str]]:
    """What each of the processes says of the batches of 100 updates."""
    ends = run_several(place, num_processes, BATCHES)
    assert [end.returncode for end in ends] == [0] * num_processes, ends
    return [digests_of_batches(end.stderr) for end in ends]


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_in_one_process_ends_all_at_once(place, config, number, figure):
    ends = run_several(place, 2, BROKEN, "error", number, 6, config, "--run-dir", f"broken{number}")
    seconds = [end.seconds for end in ends]
    assert all(end.returncode not in (0, None) for end in ends)
    assert "RuntimeError: broken on purpose" in ends[number].stderr
    # The end of the coordinator ends the others before they can say anything: JAX does, in its own words.
    named = "process 1 has failed" if number else "Polled an error from coordination service"
    assert named in ends[1 - number].stderr, ends[1 - number].stderr
    figure("seconds_from_error_to_end_of_all", [max(seconds) - min(seconds)])
    assert max(seconds) - min(seconds) <= 2


def test_a_process_that_hangs_is_noticed(place, config, figure):
    words = (BROKEN, "hang", 1, 6, config, "--run-dir", "hanging", "--watchdog-seconds", 15)
    with Several(place, 2, *words) as several:
        ends = several.wait()
    assert all(end.returncode not in (0, None) for end in ends)
    assert "broken_train.py" in ends[1].stderr and "in break_down" in ends[1].stderr
    hung = float(re.search(r"hang at ([\d.]+)", ends[1].stderr).group(1)) - several.began
    seconds = max(end.seconds for end in ends) - hung
    figure("seconds_from_hang_to_end_with_a_watchdog_of_15", [seconds])
    assert 14 <= seconds <= 17


def test_processes_with_different_experiments_refuse_to_begin(place, config):
    ends = run_several(place, 2, "train.py", config, "--run-dir", "mixed", own=lambda i: ("--seed", i))
    assert all(is_clear_refusal(end) for end in ends), ends
    assert all("must be given the same experiment; that of process 1 differs" in end.stderr for end in ends)
    assert not (place.folder / "mixed").exists()


def test_a_refusal_of_the_first_process_is_that_of_all(place, by_two):
    ends = run_several(place, 2, "train.py", "tiles.py", "--run-dir", "by_two", "--seed", 1)
    assert all(is_clear_refusal(end) for end in ends), ends
    assert "holds a run of another experiment" in ends[0].stderr
    assert "process 0 refused" in ends[1].stderr
