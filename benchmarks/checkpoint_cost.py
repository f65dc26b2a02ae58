"""Measures what checkpoints cost a training: `python -m benchmarks.checkpoint_cost`.

On the states of a config at its shipped sizes, saved as `train.py` saves them. The training waits for the copy, the
digests and what Orbax does before it goes on in the background; the rest takes the processor from it where cores are
few. So both shares of a training are given: what is waited for, and everything as if nothing ran side by side.
"""

import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from jepa.checkpoint import Checkpoints
from jepa.config import load_config
from jepa.run_log import provenance, write_json_atomic
from jepa.runs import SECONDS_BETWEEN_CHECKPOINTS, untrained_states

COMMAND = "python -m benchmarks.checkpoint_cost"


def main(
    config: Path = Path("configs/pocket_cube.py"),
    output: Path = Path("benchmarks/results/checkpoint_cost.json"),
    repeats: int = 20,
) -> None:
    """Runs the measurement and writes it.

    Args:
      config: config file whose states are saved.
      output: JSON file to write.
      repeats: saves; the medians count.
    """
    shapes = untrained_states(load_config(config))
    states = jax.tree.map(lambda leaf: jax.numpy.ones(leaf.shape, leaf.dtype), shapes)
    num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(states))
    blocking, whole = _seconds_of_saves(states, repeats)
    saves_per_minute = 60 / SECONDS_BETWEEN_CHECKPOINTS
    figures = {
        "config": config.stem,
        "num_leaves": len(jax.tree.leaves(states)),
        "megabytes": round(num_bytes / 1e6, 2),
        "blocking_seconds_median": round(statistics.median(blocking), 4),
        "blocking_seconds_max": round(max(blocking), 4),
        "whole_seconds_median": round(statistics.median(whole), 4),
        "seconds_between_checkpoints": SECONDS_BETWEEN_CHECKPOINTS,
        "blocking_share_of_training": round(statistics.median(blocking) * saves_per_minute / 60, 5),
        "whole_share_of_training": round(statistics.median(whole) * saves_per_minute / 60, 5),
        "digest_megabytes_per_second": round(_digest_rate(), 1),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    write_json_atomic(output, {"command": COMMAND, "provenance": provenance(), "figures": figures})


def _seconds_of_saves(states: Any, repeats: int) -> tuple[list[float], list[float]]:
    """Returns the seconds that each save is waited for, and those until it is on disk."""
    blocking, whole = [], []
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder) / "checkpoints") as checkpoints:
        for step in range(repeats + 1):  # The first one starts Orbax, once in a run.
            began = time.perf_counter()
            copies = jax.tree.map(lambda leaf: np.array(leaf, copy=True), states)
            checkpoints.save(step, copies, {"training_seconds": 0.0})
            blocking.append(time.perf_counter() - began)
            checkpoints.wait()
            whole.append(time.perf_counter() - began)
    return blocking[1:], whole[1:]


def _digest_rate() -> float:
    content = np.ones(64_000_000, np.uint8)
    began = time.perf_counter()
    hashlib.sha256(content).hexdigest()
    return 64 / (time.perf_counter() - began)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
