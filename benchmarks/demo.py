"""Measures how long the trained agents of the package take for a plan: `python -m benchmarks.demo`.

Each agent is started in processes of its own: the command `python -m jepa.demo` twice, the first time with nothing kept
from before, and a program that plans twice with one `TrainedAgent`. Connections are refused to all of them. Other
jobs may share the cores, so wall-clock times are upper bounds; the processor's time is recorded beside them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tyro

from jepa.pretrained import names
from jepa.run_log import provenance, write_json_atomic

COMMAND = "python -m benchmarks.demo"
OFFLINE = """
import runpy, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"offline, but asked for {event} {arguments}")

sys.addaudithook(refuse)
"""
"""Put before a program: it ends if it tries to reach anything."""
RUN_DEMO = "sys.argv[0] = 'demo'\nrunpy.run_module('jepa.demo', run_name='__main__')"
PLAN_TWICE = """
import time
began = time.perf_counter()
import jax, json, jepa
jax.config.update("jax_disable_most_optimizations", True)  # as the command does
from jepa.trained import TrainedAgent
agent = TrainedAgent.pretrained(sys.argv[1])
problems = [jax.jit(agent.env.sample_problem)(jax.random.key(seed)) for seed in (0, 1)]
times = {"is_installed": "site-packages" in jepa.__file__}
for name, problem in zip(("first", "second"), problems):
    plan = agent.plan(problem)
    times[f"{name}_plan_seconds"], began = round(time.perf_counter() - began, 2), time.perf_counter()
print(json.dumps(times))
"""


def main(output: Path = Path("benchmarks/results/demo.json"), python: Path = Path(sys.executable)) -> None:
    """Runs the measurement and writes it.

    Args:
      output: JSON file to write.
      python: the interpreter of an environment in which the package is installed.
    """
    figures: dict[str, Any] = {}
    for name in names():
        with tempfile.TemporaryDirectory() as empty:
            plans, _, _ = _timed(python, PLAN_TWICE, name, Path(empty))
            figures[name] = {**json.loads(plans)}
            for start in ("first", "second"):
                _, wall, processor = _timed(python, RUN_DEMO, name, Path(empty))
                figures[name] |= {f"{start}_start_seconds": wall, f"{start}_start_processor_seconds": processor}
        print(name, figures[name], flush=True)
    note = "seconds are upper bounds where other jobs share the cores; processor seconds are summed over threads"
    content = {"command": COMMAND, "provenance": provenance(), "note": note, "figures": figures}
    write_json_atomic(output, content)


def _timed(python: Path, program: str, name: str, folder: Path) -> tuple[str, float, float]:
    """Returns what a program prints, its seconds, and the seconds of processors that it took."""
    # What it keeps goes into a new folder, and -P keeps the sources of this repository out.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"JEPA_CACHE_DIR": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(
        [python, "-P", "-c", OFFLINE + program, name], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise ValueError(f"the agent {name} was to find a plan, but ended with {ended.returncode}: {ended.stdout}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended.stdout, round(wall, 2), round(processor, 2)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
