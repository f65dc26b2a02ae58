"""A comparison whose processes are all killed: the same command continues its cells, and the tables are the same. (F24)

With real trainings; what else can go wrong in a comparison is in `tests/test_comparison.py`, with quick fakes.
"""

import csv
import os
import signal
from pathlib import Path

import pytest

from tests.faults.programs import Workplace, assert_same_bits, num_rows, results, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CELL = Path("cloning") / "70" / "seed0"


def words(output: Path) -> tuple[object, ...]:
    return "eval.py", "compare", "cloning.py", "--seeds", 0, "--num-problems", 4, "--output-dir", output


def table(output: Path) -> list[dict[str, str]]:
    """The rows of comparison.csv, without seconds."""
    with (output / "comparison.csv").open(newline="") as file:
        return [{name: x for name, x in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


def test_a_killed_comparison_gives_the_same_tables(place: Workplace, figure, tmp_path):
    place.cloning("cloning", num_updates=800)
    assert place.run(*words(tmp_path / "unbroken")).returncode == 0
    killed = tmp_path / "killed"
    with place.start(*words(killed)) as process:
        wait_until(lambda: num_rows(killed / CELL) > 110, process)
        process.kill()
        training = int((killed / CELL / ".lock").read_text().split()[1])  # In a session of its own.
        os.kill(training, signal.SIGKILL)
    ended = place.run(*words(killed))
    assert ended.returncode == 0, ended.stderr
    assert "1 to run" in ended.stderr
    num_compared = assert_same_bits(killed / CELL, tmp_path / "unbroken" / CELL)
    assert results(killed / CELL) == results(tmp_path / "unbroken" / CELL)
    assert table(killed) == table(tmp_path / "unbroken")
    figure("kills_tried", 1)
    figure("kills_survived", 1)
    figure("loss_rows_compared", num_compared)
    figure("loss_rows_bit_equal", num_compared)
