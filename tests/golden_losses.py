"""The losses of a tiny training as hex text, and where they came from: `python -m tests.golden_losses` writes them.

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

from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, debug
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.run_log import read_jsonl, write_json_atomic
from jepa.runs import train
from jepa.training import Schedule

GOLDEN = Path(__file__).parent / "golden" / "losses.json"
COMMAND = "JAX_PLATFORMS=cpu python -m tests.golden_losses"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


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


if __name__ == "__main__":
    found = {"command": COMMAND, "place": place(), "losses": losses()}
    if sys.argv[1:] == ["--print"]:
        print(json.dumps(found))
    else:
        write_json_atomic(GOLDEN, found)
        print(f"Written to {GOLDEN}; {len(found['losses'])} stages")
