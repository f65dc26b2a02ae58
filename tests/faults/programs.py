"""The shipped commands as a user starts them: processes of their own, on an experiment that trains in seconds."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.run_config import read_config
from jepa.run_log import read_jsonl
from jepa.runs import load_run

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 120.0
"""No process of these tests may take longer; one that does hangs."""
OFTEN = ("--seconds-between-checkpoints", 0)
CLOCK = ("unix_time_seconds", "samples_per_second", "seconds_per_problem", "training_seconds")
NOT_A_RESULT = (*CLOCK, "provenance")

SMALL_AGENT = dict(
    num_updates=4, updates_per_call=1, batch_size=32, width=8, hidden_width=8, num_envs=8, rollout_length=4,
    episode_length=6, horizon=6, num_samples=64, num_simulations=4, num_nodes=64, num_walks=16, states_per_walk=4,
    steps_per_round=2, samples_per_step=8, num_walks_kept=16, num_kept=64, num_pairs=2, num_expert_moves=64,
)  # fmt: skip
"""So small that memories are full, and overwrite what is oldest, before the end."""

CONFIG = '''"""2x3 sliding tiles, everything as small as it can be."""

import dataclasses

from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, debug
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.training import Schedule

config = debug(Experiment(env=SlidingTiles(rows=2, columns=3), behaviour=NonBacktrackingWalks(walk_length=14)))
schedule = Schedule(num_updates={num_updates}, updates_per_call={updates_per_call}, batch_size=32)
agent = dataclasses.replace(config.agent, world_model_training=schedule, cost_training=schedule)
config = dataclasses.replace(config, num_transitions=70, agent=agent)
'''

CLONING = '''"""A baseline of one stage, which compiles in a third of the time."""

import dataclasses

from jepa.agents.behaviour_cloning import BehaviourCloning
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, shrink
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.training import Schedule

agent = shrink(BehaviourCloning(), **{sizes})
schedule = Schedule(num_updates={num_updates}, updates_per_call=2, batch_size=32)
config = Experiment(
    env=SlidingTiles(rows=2, columns=3),
    behaviour=NonBacktrackingWalks(walk_length=14),
    num_transitions=70,
    agent=dataclasses.replace(agent, training=schedule),
)
'''


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A working directory with configs in it, and the environment of processes that work there."""

    folder: Path
    compiled: Path
    """Programs that were compiled before, by any test: every process would compile the same anew."""

    def config(self, name: str, num_updates: int, updates_per_call: int = 2) -> str:
        """Writes a config; each of its two stages does so many updates. Returns its path as a word."""
        text = CONFIG.format(num_updates=num_updates, updates_per_call=updates_per_call)
        (self.folder / f"{name}.py").write_text(text)
        return f"{name}.py"

    def cloning(self, name: str, num_updates: int) -> str:
        """Writes a config of one stage that does so many updates, for what does not depend on what is trained."""
        (self.folder / f"{name}.py").write_text(CLONING.format(sizes=SMALL_AGENT, num_updates=num_updates))
        return f"{name}.py"

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "JEPA_TRACEBACK"}
        return kept | {
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
            "JAX_COMPILATION_CACHE_DIR": str(self.compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        }

    def start(self, program: str, *words: object, devices: int = 1, **options: Any) -> subprocess.Popen:
        """Starts a program of the repository here; what it prints goes to pipes unless the options say otherwise."""
        command = [sys.executable, str(ROOT / program), *map(str, words)]
        usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        usual |= {"cwd": self.folder, "env": self.environment() | {"JAX_NUM_CPU_DEVICES": str(devices)}}
        return subprocess.Popen(command, **(usual | options))

    def run(self, program: str, *words: object, **options: Any) -> subprocess.CompletedProcess:
        """Runs a program to its end."""
        with self.start(program, *words, **options) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def trained(self, config: str, run: str, *words: object, **options: Any) -> Path:
        """Trains in one go, and returns the run folder."""
        ended = self.run("train.py", config, "--run-dir", run, *words, **options)
        assert ended.returncode == 0, ended.stderr
        return self.folder / run


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Waits for something that a process brings about; fails if it ends, or takes too long, before that."""
    began = time.monotonic()
    while not condition():
        assert process.poll() is None, f"ended too early with {process.returncode}: {process.communicate()}"
        assert time.monotonic() - began < LIMIT_SECONDS, "nothing happened"
        time.sleep(0.005)


def num_rows(folder: Path) -> int:
    """How many lines metrics.jsonl has, complete or not; 0 where there is none yet."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def signalled(process: subprocess.Popen, number: int) -> float:
    """Sends a signal and waits for the end; returns the seconds in between."""
    began = time.monotonic()
    process.send_signal(number)
    process.wait(LIMIT_SECONDS)
    return time.monotonic() - began


def is_code_of(code: int, number: int) -> bool:
    """Whether a process has ended by a signal, in either of the two ways that a shell shows as the same."""
    return code in (-number, 128 + number)


def loss_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl but for the clock; floats in hex, so that equality is of bits."""
    rows = read_jsonl(folder / "metrics.jsonl")
    return [{name: _bits(value) for name, value in row.items() if name not in CLOCK} for row in rows]


def params(folder: Path) -> dict[str, bytes]:
    """The final parameters of a run, by name, as bytes."""
    tree = load_run(folder, read_config(folder)).params
    return {
        jax.tree_util.keystr(path): np.asarray(x).tobytes() for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def assert_same_bits(folder: Path, unbroken: Path) -> int:
    """Compares every loss and every final parameter; returns how many rows were compared."""
    rows = loss_rows(folder)
    assert rows == loss_rows(unbroken)
    assert params(folder) == params(unbroken)
    assert stray(folder) == []
    return len(rows)


def stray(folder: Path) -> list[str]:
    """Files and folders of a run that were meant to be renamed or removed."""
    checkpoints = [path for path in (folder / "checkpoints").glob("*") if not path.name.isdecimal()]
    others = [
        path for path in folder.rglob("*") if path.name.endswith((".tmp", "~")) or "orbax-checkpoint" in path.name
    ]
    return sorted({str(path.relative_to(folder)) for path in checkpoints + others})


def digests(folder: Path) -> dict[str, str]:
    """Digests of all files of a folder, but for the lock, which names the process that held it last."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def results(folder: Path) -> tuple[dict[str, Any], str]:
    """What eval.py has written, but for the clock and the machine."""
    summary = json.loads((folder / "summary.json").read_text())
    return {name: x for name, x in summary.items() if name not in NOT_A_RESULT}, (folder / "records.jsonl").read_text()


def is_clear_refusal(ended: subprocess.CompletedProcess) -> bool:
    """Whether a process has ended as one that was given something wrong: exit code 1, a message and no traceback."""
    return ended.returncode == 1 and ended.stderr.count("error: ") == 1 and "Traceback" not in ended.stderr


def _bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value
