"""Cells on a Slurm cluster, through the package submitit; their folders must be on a file system that nodes share."""

from pathlib import Path
from typing import Any

from jepa.comparison.cells import Cell, Comparison
from jepa.comparison.jobs import LOST, Job, StartJob, python_commands, run_commands


class SlurmJob(Job):
    """A cell in the queue or on a node.

    Args:
        job: That of submitit; its result is the exit status of the commands.
        log: Log of the cell, which gets what submitit says of a lost job.
    """

    def __init__(self, job: Any, log: Path):
        self._job = job
        self._log = log

    def poll(self) -> int | None:
        """Returns None until there is an exit status; `LOST` if the job ended without one, as at its time limit."""
        if not self._job.done():
            return None
        if (error := self._job.exception()) is None:
            return self._job.result()
        with self._log.open("a", encoding="utf-8") as file:
            print(error, file=file)
        return LOST

    def ask_to_end(self) -> None:
        """Cancels it."""
        self._job.cancel(check=False)

    def end(self) -> None:
        """Returns at once: Slurm kills what it has cancelled."""


def slurm_starter(comparison: Comparison, programs: Path) -> StartJob:
    """Returns a function that submits a cell.

    Args:
        comparison: With the partition and the limits of a job.
        programs: Folder of train.py and eval.py.

    Raises:
        ValueError: If submitit is not installed, or finds no Slurm here.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        hint = 'install it with: pip install -e ".[slurm]"'
        raise ValueError(f"--slurm-partition needs the package submitit ({error}); {hint}") from error
    try:
        executor = submitit.AutoExecutor(folder=comparison.output / "slurm", cluster="slurm")
    except RuntimeError as error:
        raise ValueError(f"--slurm-partition needs Slurm on this machine: {error}") from error
    gpus = {"gpus_per_node": comparison.slurm_gpus} if comparison.slurm_gpus else {}
    partition = comparison.slurm_partition
    executor.update_parameters(slurm_partition=partition, timeout_min=comparison.slurm_minutes, **gpus)

    def start(cell: Cell) -> SlurmJob:
        executor.update_parameters(name=cell.name.replace("/", "-"))
        log = cell.folder / "log.txt"
        return SlurmJob(executor.submit(run_commands, python_commands(cell, programs), log), log)

    return start
