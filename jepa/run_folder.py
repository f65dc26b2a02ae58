"""What is done with the folder of a run around its training: made, tidied up, and marked with versions and hardware."""

import os
from pathlib import Path

from jepa.run_config import read_json
from jepa.run_log import provenance, write_json_atomic


def make_run_folder(folder: Path) -> None:
    """Makes the folder of a run if it is not there, before minutes are spent on what goes into it.

    Raises:
      ValueError: it cannot be made, or nothing can be written to it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder for the run, but {folder} is a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK | os.X_OK) else "no right to write"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise ValueError(f"cannot write a run to {folder} ({reason}); correct the access rights, or choose --run-dir")


def remove_leftovers(folder: Path) -> None:
    """Removes files that a killed training has not come to put in place; to be called under the lock of the run."""
    for name in ("config.json", "provenance.json", "metrics.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()


def write_provenance(folder: Path, num_updates_done: int) -> None:
    """Says what the coming updates are computed with, and keeps what earlier ones were computed with."""
    path, earlier = folder / "provenance.json", []
    if num_updates_done and path.exists():
        last = read_json(path)
        if not isinstance(last, dict) or not isinstance(last.get("earlier_starts"), list):
            raise ValueError(f"{path} is damaged: it must be an object with a list earlier_starts; delete it")
        earlier = [*last.pop("earlier_starts"), last]
    start = {"num_updates_done": num_updates_done} | provenance()
    write_json_atomic(path, start | {"earlier_starts": earlier})
