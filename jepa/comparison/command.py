"""The command lines `eval.py compare` and `eval.py report`."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from jepa.cli import parse_flags
from jepa.comparison.cells import Cell, Comparison, plan_cells
from jepa.comparison.folders import (
    CHANGED,
    DAMAGED,
    FAILED,
    FINISHED,
    WAITING,
    inspect,
    make_room,
    new_entry,
    without_done,
    write_entry,
)
from jepa.comparison.jobs import (
    LocalJob,
    StartJob,
    new_process,
    num_usable_cores,
    python_commands,
    thread_limits,
)
from jepa.comparison.preloaded import PreloadedProcess, can_preload
from jepa.comparison.progress import progress
from jepa.comparison.quick import quick_compilation, shared_compilation
from jepa.comparison.report import print_report, write_report
from jepa.comparison.results import cell_folders, read_comparison
from jepa.comparison.runner import run_cells
from jepa.comparison.slurm import slurm_starter
from jepa.comparison.tables import make_tables
from jepa.run_folder import run_lock

PROGRAMS = Path(__file__).resolve().parents[2]
"""Folder of train.py and eval.py."""
_ONLY_ON_REQUEST = (FAILED, DAMAGED, CHANGED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """What `eval.py report` is to do."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of comparisons, such as runs/comparison, or their files cells.jsonl; of a cell that several have, the
    last one counts that is finished."""
    output_dir: Path | None = None
    """Folder of the report; that of the comparison if not given, and there is but one."""

    def __post_init__(self):
        """Refuses a report of nothing, of many to nowhere, and one that would hide cells."""
        if not self.sources:
            raise ValueError("expected the folder of a comparison, such as runs/comparison; came none")
        if self.output_dir is None and len(self.sources) > 1:
            raise ValueError(f"a report of {len(self.sources)} comparisons needs --output-dir")
        if cell_folders(self.output) and self.output.resolve() not in [path.resolve() for path in self.sources]:
            raise ValueError(f"--output-dir {self.output} has cells of its own; name it among the comparisons, too")

    @property
    def output(self) -> Path:
        """The folder of the report."""
        (first, *_) = self.sources
        return self.output_dir or (first.parent if first.is_file() else first)


def compare(arguments: Sequence[str]) -> int:
    """Runs or continues a comparison and writes its report.

    Returns:
      The exit status: 0 if all cells are finished, 1 if some are not, and 128 plus the signal that interrupted it.

    Raises:
      ValueError: a config, seed or budget is wrong, or another process has the output folder.
    """
    about = "Trains and grades every config with every budget and seed, or continues; then writes the report."
    comparison = parse_flags(Comparison, arguments, "compare", about)
    cells = plan_cells(comparison)
    with run_lock(comparison.output):
        return run_comparison(comparison, cells, PROGRAMS)


def report_comparison(arguments: Sequence[str]) -> int:
    """Writes the report of comparisons, finished or not, without running anything.

    Raises:
      ValueError: there is no comparison in a folder, or the output is nowhere.
    """
    about = "Writes comparison.md, .tex, .csv, cells.jsonl and figures of comparisons, finished or not."
    command = parse_flags(ReportCommand, arguments, "report", about)
    _report(command.sources, {}, command.output)
    return 0


def run_comparison(comparison: Comparison, cells: Sequence[Cell], programs: Path) -> int:
    """Runs what is not finished yet, writes the report and returns the exit status.

    Args:
      comparison: What was asked for.
      cells: All its cells.
      programs: Folder of train.py and eval.py.

    Raises:
      ValueError: Slurm is asked for without its package.
    """
    start = _starter(comparison, programs)
    states = {cell.name: inspect(cell) for cell in cells}
    refused = {
        name: state for name, state in states.items() if state[0] in _ONLY_ON_REQUEST and not comparison.retry_failed
    }
    to_run = [cell for cell in cells if cell.name not in refused and states[cell.name][0] != FINISHED]
    _say(f"{len(cells)} cells: {len(cells) - len(to_run) - len(refused)} finished, {len(to_run)} to run")
    for name, (status, reason) in refused.items():
        _say(f"{name} is {status} and left alone; --retry-failed runs it again\n{_indented(reason)}")
    for number, cell in enumerate(to_run):
        make_room(cell)
        if states[cell.name][0] in (WAITING, DAMAGED, CHANGED):
            write_entry(cell.folder, new_entry(cell))  # So that the report knows what is still missing.
        else:
            to_run[number] = without_done(cell)
    finished = [cell for cell in cells if states[cell.name][0] == FINISHED]
    with progress(len(to_run)) as show:
        interruption = run_cells(to_run, finished, start, comparison.jobs, show)
    if interruption is not None:
        _say("interrupted; the same command continues every cell from its last checkpoint")
        return 128 + interruption
    unfinished = refused | {cell.name: state for cell in to_run if (state := inspect(cell))[0] != FINISHED}
    _report([comparison.output], unfinished, comparison.output)
    for name, (status, reason) in unfinished.items():
        _say(f"{name} is {status}; its log is {comparison.output / name / 'log.txt'}\n{_indented(reason)}")
    return 1 if unfinished else 0


def _starter(comparison: Comparison, programs: Path) -> StartJob:
    """Returns what starts a cell: here, or on the cluster if one is asked for."""
    if comparison.slurm_partition is not None:
        return slurm_starter(comparison, programs)
    limits = thread_limits(comparison.jobs, num_usable_cores(), os.environ)
    launch = new_process
    if comparison.debug:  # Otherwise seconds of training would hang on which cell came first.
        limits |= shared_compilation(comparison.output.absolute() / "compiled", os.environ)
        limits |= quick_compilation(os.environ | limits)
        if can_preload():
            launch = PreloadedProcess

    def start(cell: Cell) -> LocalJob:
        return LocalJob(python_commands(cell, programs), cell.folder / "log.txt", os.environ | limits, launch)

    return start


def _report(sources: Sequence[Path], refused: dict[str, tuple[str, str]], folder: Path) -> None:
    results = read_comparison(sources, refused)
    tables = make_tables(results)
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_report(tables, results, folder)
    print_report(tables, results)
    print(f"\nWritten to {', '.join(map(str, paths))}")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
