"""Killed at any moment, again and again, and continued by the same command: not one bit is lost. (F1)

Kills inside of a save are in `tests/test_checkpoint.py`, kills between log and save in `tests/test_runs.py`.
"""

import concurrent.futures
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.programs import Workplace, assert_same_bits, num_rows, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS_PER_CHAIN = 14
WORDS = ("--seconds-between-checkpoints", 0.2)


def wait_for_a_row(process: subprocess.Popen, folder: Path, num_before: int) -> None:
    """Waits until the log has another row; or the process has ended, as there was nothing left to do."""
    wait_until(lambda: num_rows(folder) != num_before or process.poll() is not None, process)


def chain(place: Workplace, config: str, seed: int) -> tuple[int, list[Path]]:
    """Kills a training again and again; returns how often, and the folders that it has completed in between."""
    rng, completed, num_kills = random.Random(seed), [], 0
    while True:
        folder = place.folder / f"killed-{seed}-{len(completed)}"
        with place.start("train.py", config, "--run-dir", folder, *WORDS) as process:
            if num_kills == KILLS_PER_CHAIN:
                _, err = process.communicate()
                assert process.returncode == 0, err
                return num_kills, [*completed, folder]
            before = num_rows(folder)
            if rng.random() < 0.7:  # While it trains and saves; otherwise while it starts, compiles or restores.
                wait_for_a_row(process, folder, before)
                time.sleep(rng.random())
            else:
                time.sleep(4.0 * rng.random())
            if process.poll() is None:
                process.kill()
                num_kills += 1
            _, err = process.communicate()
            assert process.returncode in (0, -9), err
        if process.returncode == 0:
            completed.append(folder)


def test_kills_cost_nothing(place, figure):
    """Of a planner's two stages, and of a baseline's one."""
    configs = place.config("tiles", num_updates=400), place.cloning("cloning", num_updates=2400)
    unbroken = [place.trained(config, f"unbroken-{config}", *WORDS) for config in configs]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        chains = list(pool.map(lambda seed: chain(place, configs[seed], seed), (0, 1)))
    num_kills = sum(count for count, _ in chains)
    num_compared = sum(
        assert_same_bits(folder, of) for of, (_, folders) in zip(unbroken, chains, strict=True) for folder in folders
    )
    assert num_kills == 2 * KILLS_PER_CHAIN
    figure("kills_tried", num_kills)
    figure("kills_survived", num_kills)
    figure("loss_rows_compared", num_compared)
    figure("loss_rows_bit_equal", num_compared)
