"""What runs a cell: the commands of its user as processes of their own, here or on a node of a cluster."""

import abc
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jepa.comparison.cells import Cell
from jepa.comparison.preloaded import PreloadedProcess

LOST = -1000
"""Exit status of a job that ended without one, such as at the time limit of a cluster: it can be continued."""
SECONDS_TO_END = 10.0
"""How long a process that was asked to end may take before it is killed."""
_SECONDS_BETWEEN_LOOKS = 0.1
_LINES_OF_ERROR = 8
_BYTES_OF_ERROR = 4_000


class Job(abc.ABC):
    """A cell that is running."""

    @abc.abstractmethod
    def poll(self) -> int | None:
        """Returns None while it runs, then its exit status; the negative number of a signal if one has ended it."""

    @abc.abstractmethod
    def ask_to_end(self) -> None:
        """Asks it to end, without waiting."""

    @abc.abstractmethod
    def end(self) -> None:
        """Returns when nothing of it runs any more."""


StartJob = Callable[[Cell], Job]
"""Starts a cell, whose folder is there, and returns at once."""


Launch = Callable[[Sequence[str], Path, Mapping[str, str]], subprocess.Popen | PreloadedProcess]
"""Starts a command that appends what it prints to a file, with environment variables, in a process group of its own."""


def new_process(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    """Starts a command as a shell would."""
    with log.open("a", encoding="utf-8") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


class LocalJob(Job):
    """The commands one after the other, the first that fails being the last; each in a process group of its own.

    A group of its own keeps Ctrl-C in the terminal from the children, so that their end is up to us alone.

    Args:
        commands: Programs with their arguments.
        log: File to which they append what they print.
        environment: Their environment variables.
        launch: Starts one of them, in a process group of its own.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        log: Path,
        environment: Mapping[str, str],
        launch: Launch = new_process,
    ):
        self._waiting = list(commands)
        self._log = log
        self._environment = environment
        self._launch = launch
        self._start_next()

    def poll(self) -> int | None:
        """Returns None while a command runs or another follows, then the exit status of the last."""
        status = self._process.poll()
        if status == 0 and self._waiting:
            self._start_next()
            return None
        return status

    def ask_to_end(self) -> None:
        """Sends SIGTERM to the process and its children."""
        self._waiting.clear()
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Waits for the process, and kills it and what it has left behind if it takes too long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _start_next(self) -> None:
        command = self._waiting.pop(0)
        with self._log.open("a", encoding="utf-8") as file:
            print(f"$ {shlex.join(command)}", file=file, flush=True)
        self._process = self._launch(command, self._log, self._environment)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def run_commands(commands: Sequence[Sequence[str]], log: Path) -> int:
    """Runs the commands one after the other and returns the exit status of the last: a whole job on another machine.

    Args:
        commands: Programs with their arguments.
        log: File to which they append what they print.
    """
    job = LocalJob(commands, log, os.environ)
    while (status := job.poll()) is None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return status


def python_commands(cell: Cell, programs: Path) -> list[list[str]]:
    """Returns the commands of a cell that are not done, run by this Python.

    Args:
        cell: The cell.
        programs: Folder of train.py and eval.py.
    """
    return [
        [sys.executable, str(programs / program), *arguments] for program, *arguments in cell.commands[cell.num_done :]
    ]


def thread_limits(jobs: int, num_cores: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Returns environment variables that let jobs share a machine; what the user has set is kept.

    With as many jobs as cores every job gets one thread: more of them would only wait for each other. On an accelerator
    a job takes its share of the memory, where a single one would take most of it.
    """
    limits = {}
    if jobs > 1:
        threads = str(max(1, num_cores // jobs))
        limits = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        limits["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / jobs:.3f}"
    limits = {name: value for name, value in limits.items() if name not in environment}
    flags = environment.get("XLA_FLAGS", "")
    if jobs >= num_cores and "xla_cpu_multi_thread_eigen" not in flags:
        limits["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return limits


def num_usable_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_lines(log: Path, offset: int) -> str:
    """Returns the end of what was printed after some byte of a log: where errors are."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - _BYTES_OF_ERROR))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_LINES_OF_ERROR:])
