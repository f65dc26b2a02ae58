"""Uses files that were damaged on purpose and counts how that ends; prints it as JSON. Run by `test_mutations.py`.

In a process of its own: without the run-time type checks of the tests, which users do not have, and under a hook that
hears of every program that is started, every object that is unpickled and every file that is written elsewhere.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from jepa import pretrained
from jepa.alarms import read_alarms
from jepa.comparison.cells import Cell, Comparison, plan_cells
from jepa.comparison.command import report_comparison
from jepa.comparison.folders import CHANGED, FINISHED, inspect
from jepa.config import Experiment, is_refusal, load_config
from jepa.dataset import collect, dataset_path
from jepa.evaluation import Evaluation, exact_lengths, load_problems
from jepa.pretrained import load_pretrained
from jepa.run_config import read_config
from jepa.run_folder import write_provenance
from jepa.runs import load_run
from tests.faults.mutations import CANARY, mutated_bytes, mutated_json, mutated_npz

LIMIT_SECONDS = 20
OWN_PROGRAMS = ("git", "uname")
"""What is asked for the commit and the platform that provenance.json names."""
OWN_CACHES = tuple(os.environ[name] for name in ("JEPA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR"))
"""Where the package keeps tables of distances, and JAX what it has compiled."""
NAMED = "damaged: "
"""How a use begins what it returns if it went on without what is damaged, but named it."""
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class",
             "socket.connect", "shutil.unpack_archive")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
    """A file that is damaged, and what is done with it then."""

    name: str
    file: Path
    """Below the folder with everything undamaged."""
    mutate: Callable[[bytes, random.Random], bytes]
    use: Callable[[Path], Any]
    """Gets a copy of that folder; returns what must be as with the undamaged file, if it must."""
    count: int


class Watch:
    """Hears what the process does."""

    def __init__(self, folder: Path):
        self.events: list[str] = []
        self._folder, self.is_on = str(folder), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.is_on:
            return
        if event in FORBIDDEN and arguments[0] not in OWN_PROGRAMS:
            self.events.append(f"{event} {arguments[:2]}")
        elif event == "import" and "hostile" in str(arguments[0]):
            self.events.append(f"import {arguments[0]}")
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.realpath(arguments[0])
            if not path.startswith((self._folder, "/dev/", *OWN_CACHES)):
                self.events.append(f"write to {path}")


class HangsError(BaseException):
    """Something takes too long."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise HangsError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def bits(tree: Any) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


# ---- what is done with the files


def load(folder: Path) -> str:
    """As `eval.py` begins."""
    experiment = read_config(folder / "run")
    run = load_run(folder / "run", experiment)
    load_problems(experiment.env, Evaluation(num_problems=4))
    return bits(run.params)


def load_any(folder: Path) -> None:
    """The same of a config that may have become another one, as long as it says so: no bits are asked for."""
    load(folder)


def continue_provenance(folder: Path) -> None:
    write_provenance(folder / "run", 1, {})


def alarms(folder: Path) -> None:
    read_alarms(folder / "run")


def problems(env: Any) -> Callable[[Path], None]:
    def use(folder: Path) -> None:
        evaluation = Evaluation(problems=folder / "problems.npz", num_problems=4)
        exact_lengths(env, load_problems(env, evaluation), evaluation)

    return use


def record(experiment: Experiment) -> Callable[[Path], str]:
    def use(folder: Path) -> str:
        path = collect(experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed, folder)
        shard = np.load(path / "walks-00000.npz", allow_pickle=False)
        return bits({name: shard[name] for name in shard.files})

    return use


def with_digest(mutate: Callable[[bytes, random.Random], bytes], file: Path) -> Callable[[Path], None]:
    """After damage to a shard whose digest somebody has put into the manifest: only its content gives it away."""

    def use(folder: Path) -> None:
        content = (folder / file).read_bytes()
        manifest = json.loads((folder / file.parent / "manifest.json").read_text())
        manifest["files"][0] |= {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / file.parent / "manifest.json").write_text(json.dumps(manifest))

    return use


def compare(cell: Cell, drawing: contextlib.AbstractContextManager) -> Callable[[Path], str]:
    def use(folder: Path) -> str:
        status, reason = inspect(dataclasses.replace(cell, folder=folder / cell.folder))
        with contextlib.redirect_stdout(io.StringIO()), drawing:
            report_comparison([str(folder / "comparison")])
        if status == FINISHED:
            return status
        assert "## Cells without results" in (folder / "comparison" / "comparison.md").read_text() or status == CHANGED
        return f"{NAMED}{status} {reason}"

    return use


def ship(folder: Path) -> None:
    pretrained.FOLDER = folder / "weights"
    load_pretrained("small")


def targets(good: Path, config: Path) -> list[Target]:
    """The files of each kind, with as many trials as they are worth."""
    experiment = load_config(config)
    data = dataset_path(Path(), experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed)
    checkpoint = sorted(path for path in (good / "run" / "checkpoints").glob("*/") if path.name.isdecimal())[-1]
    files = [path.relative_to(good) for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.stat().st_size]
    settings = dict(configs=(config,), seeds=(0,), num_problems=4, output_dir=Path("comparison"))
    (cell,) = plan_cells(Comparison(**settings))
    report = compare(cell, mock.patch("jepa.comparison.report.write_figures", return_value=[]))
    shard, record_shard = data / "walks-00000.npz", record(experiment)

    def record_consistent(folder: Path) -> None:
        with_digest(mutated_npz, shard)(folder)
        record_shard(folder)

    found = [
        Target("config", Path("run/config.json"), mutated_json, load_any, 36),
        Target("config", Path("run/config.json"), mutated_bytes, load_any, 10),
        Target("provenance", Path("run/provenance.json"), mutated_json, continue_provenance, 6),
        Target("log", Path("run/metrics.jsonl"), mutated_bytes, alarms, 8),
        Target("manifest", data / "manifest.json", mutated_json, record_shard, 20),
        Target("manifest", data / "manifest.json", mutated_bytes, record_shard, 6),
        Target("shard", shard, mutated_bytes, record_shard, 8),
        Target("shard", shard, mutated_npz, record_consistent, 16),
        Target("problems", Path("problems.npz"), mutated_npz, problems(experiment.env), 20),
        Target("problems", Path("problems.npz"), mutated_bytes, problems(experiment.env), 10),
        Target("cell", cell.folder / "cell.json", mutated_json, report, 16),
        Target("cell", cell.folder / "cell.json", mutated_bytes, report, 4),
        Target("summary", cell.folder / "summary.json", mutated_json, compare(cell, contextlib.nullcontext()), 12),
        Target("records", cell.folder / "records.jsonl", mutated_bytes, report, 6),
        Target("weights", Path("weights/small/weights.npz"), mutated_npz, ship, 8),
        Target("card", Path("weights/small/card.json"), mutated_json, ship, 6),
    ]
    return found + [Target("checkpoint", files[(7 * k) % len(files)], mutated_bytes, load, 1) for k in range(24)]


def trial(target: Target, good: Path, folder: Path, seed: int, watch: Watch) -> tuple[str, str]:
    """Returns how one damage ended, and what was said."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / target.file
    path.write_bytes(target.mutate(path.read_bytes(), random.Random(seed)))
    watch.is_on = True
    try:
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = str(target.use(folder))
            return ("refused" if said.startswith(NAMED) else "accepted"), said
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not is_refusal(error):
            return "failed", f"a ValueError that would show its traceback: {error!r}"
        return "refused", str(error)
    except (Exception, HangsError) as error:
        return "failed", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        watch.is_on = False


def main(good: Path, config: Path, only: str) -> None:
    folder = good.parent / "damaged"
    watch, rows, undamaged = Watch(good.parent), [], {}
    for target in targets(good, config):
        if only not in ("all", target.name):
            continue
        if target.use not in undamaged:
            calm = dataclasses.replace(target, mutate=lambda content, rng: content)
            undamaged[target.use] = trial(calm, good, folder, 0, watch)
            assert undamaged[target.use][0] == "accepted", (target.name, undamaged[target.use])
        for seed in range(target.count):
            began = time.monotonic()
            outcome, said = trial(target, good, folder, seed, watch)
            if outcome == "accepted" and said != undamaged[target.use][1]:
                outcome, said = "failed", "it was taken for good, but is not as it was"
            row = {"target": target.name, "file": str(target.file), "seed": seed, "way": target.mutate.__name__}
            seconds = round(time.monotonic() - began, 2)
            rows.append(row | {"outcome": outcome, "said": said[:500], "seconds": seconds})
    canaries = [str(path) for path in (*good.parent.rglob(CANARY), Path(CANARY)) if path.exists()]
    print(json.dumps({"rows": rows, "events": watch.events, "canaries": canaries}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
