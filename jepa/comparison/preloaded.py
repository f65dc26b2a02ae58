"""Programs that start at once: copies of a process that has imported already what they all import."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

MODULES = ("jepa.comparison.command", "jepa.curve_command", "jepa.eval_results", "jepa.runs", "jepa.solve_command")
"""With what they import, all of jepa that train.py and eval.py import; a test checks it. They import JAX, but start no
backend, and so no thread that a copy would lack."""


def can_preload() -> bool:
    """Returns whether processes can be copied here; on a Mac its own libraries do not stand it."""
    return sys.platform == "linux"


class PreloadedProcess:
    """A Python program with its own process group, as subprocess.Popen would start it, but for a second of imports.

    JAX has read its environment variables before, in the process that is copied: of those that differ here, only where
    compiled programs are kept is heeded.

    Args:
        command: A Python, a program and its arguments; the Python is the one that runs.
        log: File to which it appends what it prints.
        environment: Its environment variables.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(MODULES))
        self._process = context.Process(target=_run, args=(command[1:], str(log), dict(environment)))
        self._process.start()

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Returns None while it runs, then its exit status; the negative number of a signal if one has ended it."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        """Returns when it has ended.

        Raises:
          subprocess.TimeoutExpired: it runs longer than so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)


def _run(arguments: Sequence[str], log: str, environment: Mapping[str, str]) -> None:
    """Is the program, in the copy."""
    os.setsid()
    for path, flags, numbers in (os.devnull, os.O_RDONLY, (0,)), (log, os.O_WRONLY | os.O_APPEND, (1, 2)):
        opened = os.open(path, flags)
        for number in numbers:
            os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    if place := environment.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", place)
        least = environment.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", float(least))
    sys.argv = list(arguments)
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")
