"""The processes of a training or grading: how they find each other, agree, and end when one of them fails.

Most runs are a single process, for which all of this does nothing. Several processes compute one training on
all of their devices together, each the same program with the same arguments; process 0 alone writes, and tells of
progress.
JAX leaves gaps that are closed here: it swallows SIGTERM, a failed process leaves the others waiting for minutes, and a
stuck one is never noticed.
"""

import contextlib
import dataclasses
import faulthandler
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

WATCHDOG_SECONDS = 1800.0
"""How long several processes may go without a sign of progress, if the user says nothing; compiling takes minutes."""
_MEETING_SECONDS, _HEARTBEAT_SECONDS, _SHUTDOWN_SECONDS = 300, 10, 15
_SECONDS_FOR_OTHERS = 0.5
"""How long process 0 outlives a failure: the others, which hear of its end as of a crash, can say their own first."""
_ENDED = "jepa/ended/"
_WORDS_OF_EXCHANGE = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes that compute together; one, if neither flags nor the environment say otherwise."""

    coordinator: str | None = None
    """Address of process 0 as host:port, the same for all processes; or `auto`, for JAX to find all out by itself."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which one this is, from 0."""
    watchdog_seconds: float | None = None
    """End with a stack trace after so long without progress; 0 for never. Given nothing, 1800 for several processes."""

    def __post_init__(self):
        """Refuses addresses and numbers that cannot be."""
        if self.watchdog_seconds is not None and not 0 <= self.watchdog_seconds < math.inf:
            raise ValueError(f"--watchdog-seconds must be a time of at least 0, came {self.watchdog_seconds}")
        if self.coordinator is None:
            if self.num_processes is not None or self.process_id is not None:
                raise ValueError("--num-processes and --process-id need --coordinator, the address of process 0")
            return
        if self.coordinator == "auto":
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"--coordinator must be host:port or auto, came {self.coordinator}")
        if self.num_processes is None or self.process_id is None:
            raise ValueError("--coordinator host:port needs --num-processes and --process-id")
        if not 0 <= self.process_id < self.num_processes:
            raise ValueError(
                f"--process-id must be from 0 to {self.num_processes - 1}, as --num-processes is "
                f"{self.num_processes}; came {self.process_id}"
            )


def with_environment(processes: Processes, environment: Mapping[str, str] = os.environ) -> Processes:
    """Returns the processes, with what the environment says where the user did not.

    That are JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID (or JOB_COMPLETION_INDEX, of an indexed job
    of Kubernetes), or a step of Slurm, Open MPI or a TPU slice of several hosts, which JAX itself reads the rest from.

    Raises:
      ValueError: the environment has something else than numbers, or too little.
    """
    if processes.coordinator is not None:
        return processes
    if address := environment.get("JAX_COORDINATOR_ADDRESS"):
        names = {"num_processes": ("JAX_NUM_PROCESSES",), "process_id": ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX")}
        found = {field: next(filter(None, map(environment.get, of)), "") for field, of in names.items()}
        if not all(value.isdecimal() for value in found.values()):
            came = ", ".join(f"{name} {value!r}" for name, value in found.items())
            raise ValueError(
                "JAX_COORDINATOR_ADDRESS is set, so JAX_NUM_PROCESSES and JAX_PROCESS_ID (or JOB_COMPLETION_INDEX) "
                f"must be numbers; came {came}"
            )
        numbers = {field: int(value) for field, value in found.items()}
        return dataclasses.replace(processes, coordinator=address, **numbers)
    sizes = (environment.get("SLURM_STEP_NUM_TASKS", ""), environment.get("OMPI_COMM_WORLD_SIZE", ""))
    hosts = len([host for host in environment.get("TPU_WORKER_HOSTNAMES", "").split(",") if host])
    if any(size.isdecimal() and int(size) > 1 for size in sizes) or hosts > 1:
        return dataclasses.replace(processes, coordinator="auto")
    return processes


def join(processes: Processes) -> None:
    """Finds the other processes, before the first use of a device; does nothing where there are none.

    Raises:
      ValueError: they cannot be found.
    """
    if processes.coordinator is None:
        return
    # JAX's own service swallows SIGTERM, and answers it with a step to stop at that everybody would have to ask for.
    jax.config.update("jax_enable_preemption_service", False)
    where = {}
    if processes.coordinator != "auto":
        where = dict(
            coordinator_address=processes.coordinator,
            num_processes=processes.num_processes,
            process_id=processes.process_id,
            cluster_detection_method="deactivate",
        )
    which = "" if not where else f" {processes.process_id} of {processes.num_processes} at {processes.coordinator}"
    print(f"process{which}: waiting for the others, at most {_MEETING_SECONDS} s", file=sys.stderr, flush=True)
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=_MEETING_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        asked = "JAX found no cluster by itself" if not where else f"processes did not meet at {processes.coordinator}"
        raise ValueError(f"{asked}: {error}. Start as many as --num-processes says, with one --coordinator") from error


def is_alone() -> bool:
    """Whether there is no other process."""
    return not jax.distributed.is_initialized() or jax.process_count() == 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return is_alone() or jax.process_index() == 0


def exchange(text: str) -> list[str]:
    """Returns the texts that all processes pass, in their order; each of them must call this."""
    if is_alone():
        return [text]
    content = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([content.size])).ravel()
    padded = np.pad(content, (0, int(lengths.max()) + 1 - content.size))
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]


def exchange_numbers(*numbers: int) -> np.ndarray:
    """Returns the numbers that all processes pass, a row for each process; each of them must call this."""
    row = np.array(numbers, np.int32)
    return row[None] if is_alone() else np.asarray(multihost_utils.process_allgather(row))


def on_first(action: Callable[[], T]) -> T | None:
    """Returns what an action returns in process 0, where alone it runs while the others wait; None in those.

    Raises:
      ValueError, OSError: the action raised it; all processes raise then.
    """
    if is_alone():
        return action()
    result, refusal = None, None
    if is_first():
        try:
            result = action()
        except (ValueError, OSError) as error:
            refusal = error
    said = exchange("" if refusal is None else str(refusal) or type(refusal).__name__)[0]
    if refusal is not None:
        raise refusal
    if said:
        raise ValueError(f"process 0 refused: {said}")
    return result


def require_same(what: str, text: str) -> None:
    """Raises ValueError in all processes if they were not all given the same."""
    texts = exchange(text)
    if different := [number for number, other in enumerate(texts) if other != texts[0]]:
        raise ValueError(
            f"all processes must be given the same {what}; that of process {different[0]} differs from that of "
            f"process 0:\n{_difference(texts[0], texts[different[0]])}"
        )


def _difference(one: str, other: str) -> str:
    start = len(os.path.commonprefix([one, other]))
    excerpts = [text[max(0, start - 60) : start + 40] for text in (one, other)]
    return f"  ...{excerpts[0]}...\n  ...{excerpts[1]}..."


class Watchdog:
    """Ends the process, with the stacks of all threads on stderr, if it does not hear of progress in time."""

    def __init__(self, seconds: float | None):
        """Takes the time, 0 for never; None for never in a lone process, and else for `WATCHDOG_SECONDS`."""
        self._seconds = (0.0 if is_alone() else WATCHDOG_SECONDS) if seconds is None else seconds

    def hear(self) -> None:
        """Waits anew."""
        if self._seconds:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=sys.__stderr__)

    def __enter__(self) -> "Watchdog":
        self.hear()
        return self

    def __exit__(self, *exception: object) -> None:
        faulthandler.cancel_dump_traceback_later()


def leave() -> None:
    """Parts from the other processes, once all of them have come here."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Ends this process at once when the block fails, as the others would wait for it in vain; alone, changes nothing.

    It leaves word with the coordinator. A process whose exchange with another one fails asks there which has ended.
    """
    try:
        yield
        leave()
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        if _is_of_exchange(error):
            for number, reason in _ended().items():
                print(f"error: process {number} {reason}; start all of them anew to continue", file=sys.stderr)
        else:
            _quickly(lambda: _joined().client.key_value_set(f"{_ENDED}{_joined().process_id}", _ENDED))
        sys.stdout.flush()
        sys.stderr.flush()
        if _joined().process_id == 0:
            time.sleep(_SECONDS_FOR_OTHERS)
        os._exit(code)


def _is_of_exchange(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is that of an exchange with other processes."""
    while error is not None:
        if any(word in str(error) for word in _WORDS_OF_EXCHANGE):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ended() -> dict[int, str]:
    """Returns which processes have ended, and how: what they have said themselves, else who is no longer heard of."""
    announced = _quickly(lambda: _joined().client.key_value_dir_get(_ENDED))
    if announced is None:
        return {0: "cannot be reached"}
    if announced:
        return {int(key.rpartition("/")[2]): "has failed, see what it says" for key, _ in announced}
    everyone = list(range(_joined().num_processes))
    live = _quickly(lambda: _joined().client.get_live_nodes(everyone), seconds=_HEARTBEAT_SECONDS + 3.0)
    return {number: "has ended without a word" for number in everyone if live is not None and number not in live}


def _joined() -> Any:
    """Returns what JAX knows of the processes without looking for devices, which would wait for all of them."""
    from jax._src import distributed  # There is no public way to ask the coordinator.

    return distributed.global_state


def _quickly(ask: Callable[[], T], seconds: float = 2.0) -> T | None:
    """Returns an answer; None if it does not come in time, or only an error."""
    answers: list[T] = []

    def listen() -> None:
        with contextlib.suppress(Exception):
            answers.append(ask())

    asking = threading.Thread(target=listen, daemon=True)
    asking.start()
    asking.join(timeout=seconds)
    return answers[0] if answers else None
