"""Several processes of the shipped commands on this machine, as a cluster would start them on several."""

import dataclasses
import socket
import subprocess
import time
from typing import Any

from tests.faults.programs import LIMIT_SECONDS, Workplace


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    returncode: int
    stderr: str
    seconds: float
    """Since the processes were started."""


class Several:
    """Processes that find each other; to be used in a `with`, after which none is left."""

    def __init__(self, place: Workplace, num_processes: int, program: str, *words: object, own: Any = lambda i: ()):
        """Starts them, each with the same words and those of its own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.began = time.monotonic()
        self._stderr = [place.folder / f"stderr-{self.began}-{i}" for i in range(num_processes)]
        self.processes: list[subprocess.Popen] = []
        for i in range(num_processes):
            which = ("--coordinator", address, "--num-processes", num_processes, "--process-id", i)
            with self._stderr[i].open("w") as stderr:
                started = place.start(program, *words, *which, *own(i), stderr=stderr, stdout=subprocess.DEVNULL)
            self.processes.append(started)

    def __enter__(self) -> "Several":
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.kill()  # JAX may have SIGTERM swallowed.
            process.wait()

    def wait(self) -> list[Ended]:
        """Waits until all have ended."""
        ends: dict[int, float] = {}
        while len(ends) < len(self.processes):
            for i, process in enumerate(self.processes):
                if i not in ends and process.poll() is not None:
                    ends[i] = time.monotonic() - self.began
            assert time.monotonic() - self.began < LIMIT_SECONDS, f"{self.said()} still run"
            time.sleep(0.005)
        codes = (process.returncode for process in self.processes)
        return [Ended(code, text, ends[i]) for i, (code, text) in enumerate(zip(codes, self.said(), strict=True))]

    def said(self) -> list[str]:
        """What each has said on stderr so far."""
        return [path.read_text(errors="replace") for path in self._stderr]


def run_several(place: Workplace, num_processes: int, program: str, *words: object, **options: Any) -> list[Ended]:
    """Runs processes to their end."""
    with Several(place, num_processes, program, *words, **options) as several:
        return several.wait()
