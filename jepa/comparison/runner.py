"""Runs cells, so many at a time, and keeps what became of each; whatever ends it, the same call continues."""

import contextlib
import dataclasses
import datetime
import signal
import time
from collections import defaultdict
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
from jepa.comparison.sharing import same_world_model, take_training, trains_alike, with_world_model
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


def run_cells(cells: Sequence[Cell], finished: Sequence[Cell], start: StartJob, jobs: int, show: Show) -> int | None:
    """Runs cells in their order; one that fails does not stop the others.

    Of cells that train alike the first trains, and the others, after it, take over what it has trained; the same holds
    for cells that train the same world model and then something else.

    Args:
      cells: Those to run or to continue.
      finished: Those of the comparison that are finished already.
      start: Starts one.
      jobs: How many run at the same time, at most.
      show: Receives progress.

    Returns:
      The signal that has interrupted it, or None. No process is left behind in any case.
    """
    waiting, running, finished, num_ended = list(cells), [], list(finished), 0
    taken = {cell.name: read_entry(cell.folder).seconds for cell in finished}
    with _received_signals() as received:
        try:
            while (waiting or running) and not received:
                while len(running) < jobs and not received and (cell := _next(waiting, running)):
                    waiting.remove(cell)
                    one, text = _begin(cell, finished, start)
                    running.append(one)
                    show(text, num_ended, _outlook(waiting, running, taken, jobs))
                for one in [one for one in running if not received]:
                    if (status := one.job.poll()) is not None:
                        running.remove(one)
                        num_ended += 1
                        text, is_finished = _end(one, status)
                        if is_finished:
                            finished.append(one.cell)
                            taken[one.cell.name] = one.seconds
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


def _next(waiting: Sequence[Cell], running: Sequence[_Running]) -> Cell | None:
    """Returns the first cell that does not train what is being trained just now; None if there is none.

    One whose world model is being trained can wait, unless all others would have to.
    """
    free = [cell for cell in waiting if not any(trains_alike(cell, one.cell) for one in running)]
    patient = (cell for cell in free if not any(same_world_model(cell, one.cell) for one in running))
    return next(patient, free[0] if free else None)


def _begin(cell: Cell, finished: Sequence[Cell], start: StartJob) -> tuple[_Running, str]:
    """Starts a cell, and returns it with what has happened in words."""
    before = read_entry(cell.folder) if (cell.folder / "cell.json").exists() else new_entry(cell)
    entry = dataclasses.replace(new_entry(cell), status=RUNNING, seconds=before.seconds)
    write_entry(cell.folder, entry)
    log, text = cell.folder / "log.txt", f"{cell.name} started"
    if source := take_training(cell, finished):
        text += f" with what {source.name} has trained, which differs in planning alone"
    elif before.status != FAILED:  # What it took over may have been the reason.
        cell, source = with_world_model(cell, finished)
        if source is not None:
            text += f" with the world model of {source.name}"
    with log.open("a", encoding="utf-8") as file:
        print(text, file=file)
    offset, began = log.stat().st_size, time.monotonic()
    return _Running(cell=cell, job=start(cell), entry=entry, log_offset=offset, began_seconds=began), text


def _end(one: _Running, status: int) -> tuple[str, bool]:
    """Writes down how a cell has ended, and returns it in words, and whether it is finished."""
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
        except ValueError as damage:
            outcome, error = FAILED, f"all commands ended well, but {damage}"
    write_entry(cell.folder, dataclasses.replace(one.entry, status=outcome, error=error, seconds=one.seconds))
    return f"{cell.name} {outcome} after {_clock(one.seconds)}", outcome == FINISHED


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
