"""Runs cells, so many at a time, and keeps what became of each; whatever ends it, the same call continues."""

import contextlib
import dataclasses
import datetime
import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

import numpy as np

from jepa.comparison.cells import Cell
from jepa.comparison.folders import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    Entry,
    new_entry,
    read_entry,
    read_results,
    write_entry,
)
from jepa.comparison.jobs import LOST, Job, StartJob, last_lines
from jepa.stopping import SIGNALS

Show = Callable[[str, int, str], None]
"""Receives what has just happened, if anything, how many cells have ended, and what runs with the time left."""
_SECONDS_BETWEEN_LOOKS = 0.1
# Ended from outside, not by themselves.
_INTERRUPTIONS = (LOST, *(-number for number in SIGNALS), *(128 + number for number in SIGNALS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Running:
    """A cell that is running."""

    cell: Cell
    """Which one."""
    job: Job
    """What runs it."""
    entry: Entry
    """Its cell.json."""
    log_offset: int
    """Length of its log before it started."""
    began_seconds: float
    """When it started, by the monotonic clock."""

    @property
    def seconds(self) -> float:
        """Time over all attempts."""
        return self.entry.seconds + time.monotonic() - self.began_seconds


def run_cells(
    cells: Sequence[Cell], start: StartJob, jobs: int, seconds: Mapping[str, float], show: Show
) -> int | None:
    """Runs cells in their order; one that fails does not stop the others.

    Args:
      cells: Those to run or to continue.
      start: Starts one.
      jobs: How many run at the same time, at most.
      seconds: By name of a cell, how long it took: those of the comparison that are finished already.
      show: Receives progress.

    Returns:
      The signal that has interrupted it, or None. No process is left behind in any case.
    """
    waiting, running, taken, num_ended = deque(cells), [], dict(seconds), 0
    with _received_signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and len(running) < jobs and not received:
                    running.append(_begin(waiting.popleft(), start))
                    show(f"{running[-1].cell.name} started", num_ended, _outlook(waiting, running, taken, jobs))
                for one in [one for one in running if not received]:
                    if (status := one.job.poll()) is not None:
                        running.remove(one)
                        num_ended += 1
                        text = _end(one, status, taken)
                        show(text, num_ended, _outlook(waiting, running, taken, jobs))
                show("", num_ended, _outlook(waiting, running, taken, jobs))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            _break_off(running)
    return received[0] if received else None


@contextlib.contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Yields a list that signals to end are appended to instead of raising anywhere, which could lose a process.

    What is ignored stays ignored, as the end of the terminal under nohup.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, receive) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin(cell: Cell, start: StartJob) -> _Running:
    seconds = read_entry(cell.folder).seconds if (cell.folder / "cell.json").exists() else 0.0
    entry = dataclasses.replace(new_entry(cell), status=RUNNING, seconds=seconds)
    write_entry(cell.folder, entry)
    log = cell.folder / "log.txt"
    log.touch()
    offset, began = log.stat().st_size, time.monotonic()
    return _Running(cell=cell, job=start(cell), entry=entry, log_offset=offset, began_seconds=began)


def _end(one: _Running, status: int, taken: dict[str, float]) -> str:
    """Writes down how a cell has ended, and returns it in words."""
    cell, error = one.cell, ""
    if status in _INTERRUPTIONS:
        outcome, error = INTERRUPTED, last_lines(cell.folder / "log.txt", one.log_offset)
    elif status != 0:
        reason = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        outcome, error = FAILED, f"{reason}\n{last_lines(cell.folder / 'log.txt', one.log_offset)}".strip()
    else:
        try:
            read_results(cell.folder, one.entry)
            outcome = FINISHED
            taken[cell.name] = one.seconds
        except ValueError as damage:
            outcome, error = FAILED, f"all commands ended well, but {damage}"
    write_entry(cell.folder, dataclasses.replace(one.entry, status=outcome, error=error, seconds=one.seconds))
    return f"{cell.name} {outcome} after {_clock(one.seconds)}"


def _break_off(running: Sequence[_Running]) -> None:
    """Ends what still runs, all at once, and writes down that it can be continued."""
    for one in running:
        one.job.ask_to_end()
    for one in running:
        one.job.end()
        write_entry(one.cell.folder, dataclasses.replace(one.entry, status=INTERRUPTED, seconds=one.seconds))


def _outlook(waiting: Sequence[Cell], running: Sequence[_Running], taken: Mapping[str, float], jobs: int) -> str:
    """Returns the time left, by what finished cells took, and what is running."""
    left, means = "?", _mean_seconds(taken)
    if taken:
        to_come = sum(_expected(cell, means) for cell in waiting)
        to_come += sum(max(0.0, _expected(one.cell, means) - one.seconds) for one in running)
        left = _clock(to_come / max(1, min(jobs, len(waiting) + len(running))))
    return f"{left} left, running {', '.join(one.cell.name for one in running) or 'nothing'}"


def _mean_seconds(taken: Mapping[str, float]) -> dict[str, float]:
    """Returns the mean time of the finished cells of each config and budget, of each config, and of all."""
    groups = defaultdict(list)
    for name, seconds in taken.items():
        for group in _groups(name):
            groups[group].append(seconds)
    return {group: float(np.mean(seconds)) for group, seconds in groups.items()}


def _expected(cell: Cell, means: Mapping[str, float]) -> float:
    return next(means[group] for group in _groups(cell.name) if group in means)


def _groups(name: str) -> tuple[str, str, str]:
    config, budget, _ = name.split("/")
    return f"{config}/{budget}", config, ""


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
