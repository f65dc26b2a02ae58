"""The log of a run: one JSON line per look at the numbers, the same in TensorBoard, and progress on stderr.

`metrics.jsonl` is the record that reports are made from; TensorBoard may fail without harm.
"""

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jepa import __version__
from jepa.latents import HISTOGRAM_EDGES
from jepa.tensorboard_log import TensorBoard

_SECONDS_BETWEEN_LINES = 10.0
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_HISTOGRAM_SHAPE = (len(HISTOGRAM_EDGES) - 1,)
_OWN_NAMES = ("stage", "num_updates", "unix_time_seconds", "samples_per_second")
# What JSON has no number for, spelled as in ProtoJSON.
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class RunLog:
    """Writes the numbers of one stage of a run, within a `with` block, in one process only.

    A row of `metrics.jsonl` holds the stage, the updates done, the time, the speed since the row before
    (compilation included) and the metrics. On entering, a line torn by a killed run is removed, as are rows
    of this stage after `num_updates_done`, so that the file has each update once. TensorBoard finds one run
    per stage in `<folder>/tensorboard`.

    Args:
        folder: Folder of the run, made if missing; its stages may share it.
        stage: Name of the stage.
        num_updates: Updates of the whole stage.
        batch_size: Samples of one update.
        num_updates_done: Updates done before, in the checkpoint that is resumed from.
    """

    def __init__(self, folder: Path, *, stage: str, num_updates: int, batch_size: int, num_updates_done: int = 0):
        self._folder = folder
        self._stage = stage
        self._num_updates = num_updates
        self._batch_size = batch_size
        self._num_updates_before = self._num_updates_done = num_updates_done

    def __enter__(self) -> "RunLog":
        path, done = self._folder / "metrics.jsonl", self._num_updates_done
        self._folder.mkdir(parents=True, exist_ok=True)
        _drop_rows(path, self._stage, done)
        self._stack = contextlib.ExitStack()
        self._file = self._stack.enter_context(path.open("ab", buffering=0))
        self._tensorboard = TensorBoard(self._folder / "tensorboard" / self._stage, done)
        self._stack.callback(self._tensorboard.close)
        display = _bar if sys.stderr.isatty() else _lines
        self._show = self._stack.enter_context(display(self._stage, self._num_updates, done))
        self._start_seconds = self._last_seconds = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, num_updates_done: int, metrics: Mapping[str, Any]) -> None:
        """Adds a row, and waits for the metrics if they are still being computed.

        Args:
            num_updates_done: Updates done by now; grows from row to row.
            metrics: Numbers by name, of Python or arrays without axes; "loss" is shown on stderr. Counts between
                `HISTOGRAM_EDGES` go to TensorBoard alone.

        Raises:
            ValueError: If the updates do not grow, a metric is no number or has a name of the log's own, or the row
                cannot be written.
        """
        if num_updates_done <= self._num_updates_done:
            have = f"{self._num_updates_done} of stage {self._stage}"
            raise ValueError(f"num_updates_done must be larger than {have}, got {num_updates_done}.")
        if taken := metrics.keys() & set(_OWN_NAMES):
            raise ValueError(f"metrics must not have the log's own names, got {sorted(taken)}; rename them.")
        histograms = {name: value for name, value in metrics.items() if np.shape(value) == _HISTOGRAM_SHAPE}
        numbers = {name: _number(name, value) for name, value in metrics.items() if name not in histograms}
        seconds = time.monotonic()
        num_samples = (num_updates_done - self._num_updates_done) * self._batch_size
        speed = num_samples / max(seconds - self._last_seconds, 1e-9)
        self._last_seconds, self._num_updates_done = seconds, num_updates_done
        own = (self._stage, num_updates_done, round(time.time(), 3), round(speed, 3))
        row = dict(zip(_OWN_NAMES, own, strict=True)) | {name: _spelled(x) for name, x in numbers.items()}
        self._append(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._tensorboard.write(num_updates_done, numbers | {"samples_per_second": speed})
        pace = (seconds - self._start_seconds) / (num_updates_done - self._num_updates_before)
        for name, counts in histograms.items():
            self._tensorboard.write_histogram(num_updates_done, name, counts, HISTOGRAM_EDGES)
        left = datetime.timedelta(seconds=round(pace * (self._num_updates - num_updates_done)))
        loss = numbers.get("loss", math.nan)
        self._show(num_updates_done, f"{left} left, loss {loss:.4g}, {speed:,.0f} samples/s")

    def _append(self, content: bytes) -> None:
        try:
            while content:  # A full disk takes a part of it first.
                content = content[self._file.write(content) :]
        except OSError as error:
            raise _unwritten(self._folder / "metrics.jsonl", error) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a file with one JSON object per line, without a torn last line.

    The strings "NaN", "Infinity" and "-Infinity" become the numbers that they stand for.

    Raises:
        ValueError: If any other line is not a JSON object.
    """
    rows = (row for _, row in _lines_and_rows(path))
    return [{name: _NONFINITE.get(str(value), value) for name, value in row.items()} for row in rows]


def copy_rows(path: Path, copy: Path, stage: str) -> None:
    """Makes a file of the rows of one stage in a metrics.jsonl, as they are written there; replaces what is there.

    Raises:
        ValueError: If another line than a torn last one is not a JSON object, or the disk does not take the file.
    """
    write_atomic(copy, b"".join(line + b"\n" for line, row in _lines_and_rows(path) if row.get("stage") == stage))


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file that is never seen half-written; replaces what is there.

    Raises:
        ValueError: If the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path, obj: Any) -> None:
    """Writes a JSON file that is never seen half-written; replaces what is there and makes the folder.

    Raises:
        ValueError: If the object holds NaN or infinity, or the disk does not take the file.
        TypeError: If it holds what JSON does not know.
    """
    content = json.dumps(obj, indent=2, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content.encode() + b"\n")


def provenance() -> dict[str, Any]:
    """Returns what a result may depend on besides configuration and data, without any path.

    The commit and whether it is `git_dirty` (changed or untracked files) are None unless the package lies in
    its own git checkout; the version of a package is None if it is not installed.
    """
    device = jax.devices()[0]
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "jepa": __version__,
        "git_commit": commit,
        "git_dirty": None if commit is None else changes != "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "device_platform": device.platform,
        "device_kind": device.device_kind,
        "num_devices": jax.device_count(),
        "num_processes": jax.process_count(),
        "num_cpus": os.cpu_count(),
    }


@contextlib.contextmanager
def _bar(stage: str, num_updates: int, num_updates_done: int) -> Iterator[Callable[[int, str], None]]:
    """Progress in a terminal; standard output is left alone, since a program may read it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[text]}")
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as progress:
        task = progress.add_task(stage, total=num_updates, completed=num_updates_done, text="")
        yield lambda num_updates_done, text: progress.update(task, completed=num_updates_done, text=text)


@contextlib.contextmanager
def _lines(stage: str, num_updates: int, num_updates_done: int) -> Iterator[Callable[[int, str], None]]:
    """Progress in a file or a pipe: a line now and then, and one for the last update."""
    next_seconds = 0.0

    def show(num_updates_done: int, text: str) -> None:
        nonlocal next_seconds
        if time.monotonic() >= next_seconds or num_updates_done >= num_updates:
            next_seconds = time.monotonic() + _SECONDS_BETWEEN_LINES
            print(f"{stage}: {num_updates_done}/{num_updates} updates, {text}", file=sys.stderr, flush=True)

    yield show


def _number(name: str, value: Any) -> int | float:
    """Returns a metric as a Python number, exactly."""
    array = np.asarray(value)
    if array.ndim == 0 and (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool):
        return int(array)
    if array.ndim == 0 and jnp.issubdtype(array.dtype, jnp.floating):
        return float(array)
    raise ValueError(f"metric {name} must be one number, got {array.dtype}{list(array.shape)}; reduce it.")


def _spelled(number: int | float) -> int | float | str:
    """Returns a number as JSON can hold it."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _lines_and_rows(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yields every line with its object; a broken line without an end was torn and is left out."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"it is a {type(row).__name__}")
        except ValueError as error:
            if number == len(lines):
                return
            raise ValueError(f"line {number} of {path} must be a JSON object: {error}; remove it.") from error
        yield line, row


def _drop_rows(path: Path, stage: str, num_updates_done: int) -> None:
    """Removes a torn line and the rows of a stage after some update."""
    if not path.exists():
        return
    kept = [
        line + b"\n"
        for line, row in _lines_and_rows(path)
        if row.get("stage") != stage or row["num_updates"] <= num_updates_done
    ]
    if (content := b"".join(kept)) != path.read_bytes():
        write_atomic(path, content)


def _unwritten(path: Path, error: OSError) -> ValueError:
    reason = f"{path} could not be written: {error.strerror}"
    return ValueError(f"{reason}. Free disk space or correct the access rights, and run the same command again.")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Returns what git prints about our own checkout; None if there is none."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():  # A checkout around an installed package is somebody else's.
        return None
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
