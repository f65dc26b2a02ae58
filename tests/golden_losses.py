"""The losses of a tiny training as hex text, and where they came from: `python -m tests.golden_losses` writes them.

Several places may stand in the file, each with its own bits; whoever works at a new one adds it by the same command.
With `--print` it prints them instead, which is how the test asks for them: in a process of their own, whatever else
tests are compiled with.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, debug
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.run_log import read_jsonl, write_json_atomic
from jepa.runs import train
from jepa.training import Schedule

GOLDEN = Path(__file__).parent / "golden" / "losses.json"
COMMAND = "JAX_PLATFORMS=cpu python -m tests.golden_losses"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
TOLERANCE = 1e-4
"""Relative; for other versions, processors and numbers of cores, which add up in another order."""
TIE_TOLERANCE, TIE_SHARE = 1e-2, 0.15
"""A tie in an imagined walk that is decided otherwise moves a loss farther, and those after it: measured on one of 20
with jax 0.12 and on one processor, on three, the last of their stage, on a third processor that is not recorded."""


def experiment() -> Experiment:
    small = debug(Experiment(env=SlidingTiles(rows=2, columns=3), behaviour=NonBacktrackingWalks(walk_length=14)))
    schedule = Schedule(num_updates=20, updates_per_call=2, batch_size=32)
    agent = dataclasses.replace(small.agent, world_model_training=schedule, cost_training=schedule)
    return dataclasses.replace(small, num_transitions=70, agent=agent)


def place() -> dict[str, Any]:
    """All that bits may depend on beside the code: versions, processor, and how many cores share the work."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags"))})
    return {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "processor": hashlib.sha256("".join(processor or platform.processor()).encode()).hexdigest()[:16],
        "num_cpus": os.cpu_count(),
        "device_platform": jax.devices()[0].platform,
        "num_devices": jax.device_count(),
    }


def losses() -> dict[str, list[str]]:
    """The loss of every call by stage, as hex text: equal text is equal bits. Compiled without optimisation."""
    jax.config.update("jax_disable_most_optimizations", True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        train(experiment(), Path("run"), lambda text: None)
        found: dict[str, list[str]] = {}
        for row in read_jsonl(Path("run/metrics.jsonl")):
            found.setdefault(row["stage"], []).append(float(row["loss"]).hex())
    return found


def differences(came: dict[str, Any], recorded: list[dict[str, Any]]) -> list[str]:
    """Says what differs by more than it may: by a bit from the same place, or by a tolerance from the nearest other."""
    same = [record for record in recorded if record["place"] == came["place"]]
    found = [_differences(came["losses"], record["losses"], bool(same)) for record in same or recorded]
    return min(found, key=len, default=["expected losses of some place, came none"])


def _differences(came: dict[str, list[str]], golden: dict[str, list[str]], is_same_place: bool) -> list[str]:
    if {stage: len(values) for stage, values in came.items()} != {stage: len(x) for stage, x in golden.items()}:
        return [f"expected losses of {sorted(golden)}, came {sorted(came)}, or not as many"]
    pairs = [
        (
            f"loss {number} of {stage}: expected {float.fromhex(old)} ({old}), came {float.fromhex(new)} ({new})",
            new,
            old,
        )
        for stage in golden
        for number, (old, new) in enumerate(zip(golden[stage], came[stage], strict=True))
    ]
    if is_same_place:
        return [text for text, new, old in pairs if new != old]
    ties = _beyond(pairs, TOLERANCE)
    return _beyond(pairs, TIE_TOLERANCE) if len(ties) <= TIE_SHARE * len(pairs) else ties


def _beyond(pairs: list[tuple[str, str, str]], tolerance: float) -> list[str]:
    values = [(text, float.fromhex(new), float.fromhex(old)) for text, new, old in pairs]
    return [text for text, new, old in values if not np.isclose(new, old, rtol=tolerance, atol=0.0)]


def updated(recorded: list[dict[str, Any]], came: dict[str, Any]) -> list[dict[str, Any]]:
    """Adds what came, in the stead of its place; whatever other code made elsewhere is dropped, to be recorded anew."""
    others = [record for record in recorded if record["place"] != came["place"]]
    if len(others) < len(recorded) and differences(came, recorded):
        return [came]
    return [*(record for record in others if not differences(came, [record])), came]


if __name__ == "__main__":
    found = {"place": place(), "losses": losses()}
    if sys.argv[1:] == ["--print"]:
        print(json.dumps(found))
    else:
        before = json.loads(GOLDEN.read_text())["recorded"] if GOLDEN.exists() else []
        after = updated(before, found)
        write_json_atomic(GOLDEN, {"command": COMMAND, "recorded": after})
        print(f"Written to {GOLDEN}: {len(after)} places, before {len(before)}")
