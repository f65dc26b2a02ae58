"""The log of a run: one JSON line per look at the numbers, the same in TensorBoard, and progress on stderr.

`metrics.jsonl` is the record that reports are made from; TensorBoard may fail without harm.
"""

import functools
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jepa import __version__

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_FLUSHES = 10.0
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_OWN_NAMES = ("stage", "num_updates", "unix_time_seconds", "samples_per_second")
# What JSON has no number for, spelled as in ProtoJSON.
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class RunLog:
    """Writes the numbers of one stage of a run, within a `with` block, in one process only.

    A row of `metrics.jsonl` holds the stage, the updates done, the time, the speed since the row before
    (compilation included) and the metrics. On entering, a line torn by a killed run is removed, as are rows of
    this stage after `num_updates_done`, so that the file has each update once. TensorBoard finds one run per
    stage in `<folder>/tensorboard`.

    Args:
        folder: Folder of the run, made if missing; its stages may share it.
        stage: Name of the stage.
        num_updates: Updates of the whole stage.
        batch_size: Samples of one update.
        num_updates_done: Updates done before, in the checkpoint that is resumed from.
    """

    def __init__(
        self, folder: Path, *, stage: str, num_updates: int, batch_size: int, num_updates_done: int = 0
    ):
        self._folder = folder
        self._stage = stage
        self._num_updates = num_updates
        self._batch_size = batch_size
        self._num_updates_done = num_updates_done

    def __enter__(self) -> "RunLog":
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "metrics.jsonl"
        _drop_rows(path, self._stage, self._num_updates_done)
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = _TensorBoard()
        self._tensorboard.open(self._folder / "tensorboard" / self._stage, self._num_updates_done)
        display = _Bar if sys.stderr.isatty() else _Lines
        self._display = display(self._stage, self._num_updates, self._num_updates_done)
        self._last_seconds = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        self._display.close()
        self._tensorboard.close()
        self._file.close()

    def write(self, num_updates_done: int, metrics: Mapping[str, Any]) -> None:
        """Adds a row, and waits for the metrics if they are still being computed.

        Args:
            num_updates_done: Updates done by now; grows from row to row.
            metrics: Numbers by name, of Python or arrays without axes; "loss" is shown on stderr.

        Raises:
            ValueError: If the updates do not grow, or a metric is no number or has a name of the log's own.
        """
        if num_updates_done <= self._num_updates_done:
            raise ValueError(
                f"num_updates_done must be larger than {self._num_updates_done}, which stage {self._stage} "
                f"has logged or resumed from, got {num_updates_done}."
            )
        if taken := metrics.keys() & set(_OWN_NAMES):
            raise ValueError(f"metrics must not have the log's own names, got {sorted(taken)}; rename them.")
        numbers = {name: _number(name, value) for name, value in metrics.items()}
        seconds = time.monotonic()
        num_samples = (num_updates_done - self._num_updates_done) * self._batch_size
        speed = num_samples / max(seconds - self._last_seconds, 1e-9)
        self._last_seconds, self._num_updates_done = seconds, num_updates_done
        own = (self._stage, num_updates_done, round(time.time(), 3), round(speed, 3))
        row = dict(zip(_OWN_NAMES, own, strict=True)) | {name: _spelled(x) for name, x in numbers.items()}
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()
        self._tensorboard.write(num_updates_done, numbers | {"samples_per_second": speed})
        self._display.show(num_updates_done, numbers.get("loss", math.nan), speed)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a file with one JSON object per line, without a torn last line.

    The strings "NaN", "Infinity" and "-Infinity" become the numbers that they stand for.

    Raises:
        ValueError: If any other line is not a JSON object.
    """
    return [
        {
            name: _NONFINITE.get(value, value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        for _, row in _lines_and_rows(path)
    ]


def write_json_atomic(path: Path, obj: Any) -> None:
    """Writes a JSON file that is never seen half-written; replaces what is there and makes the folder.

    Raises:
        ValueError: If JSON cannot hold the object, for example for a NaN.
    """
    try:
        content = json.dumps(obj, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must be made from what JSON can hold, without NaN: {error}.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content.encode() + b"\n")


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


def _or_give_up(method: Callable[..., None]) -> Callable[..., None]:
    """Makes a method of `_TensorBoard` warn at the first failure and do nothing from then on."""

    @functools.wraps(method)
    def attempt(self: "_TensorBoard", *args: Any) -> None:
        if self.has_failed:
            return
        try:
            method(self, *args)
        except Exception as error:  # Pictures of a run must not end it, whatever they fail with.
            self.has_failed = True
            warnings.warn(
                f"TensorBoard gets no more numbers ({type(error).__name__}: {error}); metrics.jsonl has them all.",
                stacklevel=4,
            )

    return attempt


class _TensorBoard:
    """Scalars for TensorBoard, written in the thread of the caller.

    The `SummaryWriter` of tensorboardX is not used: its thread dies on a full disk without a word, and then
    training waits for its queue for ever.
    """

    def __init__(self):
        self.has_failed = False

    @_or_give_up
    def open(self, folder: Path, num_updates_done: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter  # Only here, so that it may be missing.
        from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._next_flush_seconds = 0.0
        # Hides what a run that was killed has written after this point.
        self._add(num_updates_done + 1, session_log=SessionLog(status=SessionLog.START))

    @_or_give_up
    def write(self, num_updates_done: int, numbers: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        self._add(num_updates_done, summary=Summary(value=values))
        if time.monotonic() >= self._next_flush_seconds:
            self._writer.flush()
            self._next_flush_seconds = time.monotonic() + _SECONDS_BETWEEN_FLUSHES

    @_or_give_up
    def close(self) -> None:
        self._writer.close()

    def _add(self, num_updates: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=num_updates, **content))


class _Bar:
    """Progress in a terminal."""

    def __init__(self, stage: str, num_updates: int, num_updates_done: int):
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[numbers]}"),
        )
        # Standard output stays as it is: it may be read by a program.
        self._progress = progress.Progress(*columns, console=Console(stderr=True), redirect_stdout=False)
        self._task = self._progress.add_task(
            stage, total=num_updates, completed=num_updates_done, numbers="compiling"
        )
        self._progress.start()

    def show(self, num_updates_done: int, loss: float, samples_per_second: float) -> None:
        numbers = f"loss {loss:.4g}, {samples_per_second:,.0f} samples/s"
        self._progress.update(self._task, completed=num_updates_done, numbers=numbers)

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """Progress in a file or a pipe: a line now and then, and for the last update."""

    def __init__(self, stage: str, num_updates: int, num_updates_done: int):
        self._stage = stage
        self._num_updates = num_updates
        self._start = (num_updates_done, time.monotonic())
        self._next_line_seconds = 0.0

    def show(self, num_updates_done: int, loss: float, samples_per_second: float) -> None:
        seconds = time.monotonic()
        if seconds < self._next_line_seconds and num_updates_done < self._num_updates:
            return
        self._next_line_seconds = seconds + _SECONDS_BETWEEN_LINES
        num_updates_before, start_seconds = self._start
        seconds_per_update = (seconds - start_seconds) / (num_updates_done - num_updates_before)
        minutes_left, seconds_left = divmod(
            round((self._num_updates - num_updates_done) * seconds_per_update), 60
        )
        print(
            f"{self._stage}: {num_updates_done}/{self._num_updates} updates, {minutes_left}:{seconds_left:02d} left,"
            f" loss {loss:.4g}, {samples_per_second:,.0f} samples/s",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        pass


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
            raise ValueError(
                f"line {number} of {path} must be a JSON object, but {error}; correct or remove the line."
            ) from error
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
        _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    """Puts a file in place in one go."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
