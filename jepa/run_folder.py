"""What is done with the folder of a run around its training: made, locked, tidied up, marked with its versions."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
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


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder of a run, so that no second run destroys its files.

    The lock ends with the process, however that ends; nothing has to be cleaned up.

    Raises:
        ValueError: If another run holds it, which is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ValueError(f"{folder} is in use by {holder}; wait or choose another folder.") from error
        file.truncate(0)
        print(f"process {os.getpid()} on host {socket.gethostname()}", file=file, flush=True)
        yield


def remove_leftovers(folder: Path) -> None:
    """Removes files that a killed training has not come to put in place; to be called under the lock of the run."""
    for name in ("config.json", "provenance.json", "metrics.jsonl"):
        for path in folder.glob(f".{name}.*.tmp"):
            path.unlink()


def write_provenance(folder: Path, num_updates_done: int, changed: Mapping[str, str]) -> None:
    """Says what the coming updates are computed with, and keeps what earlier ones were computed with.

    Args:
      folder: the run folder.
      num_updates_done: how many updates there were before.
      changed: fields of the experiment that have changed since, as `differences` tells them.
    """
    path, earlier = folder / "provenance.json", []
    if num_updates_done and path.exists():
        last = read_json(path)
        if not isinstance(last, dict) or not isinstance(last.get("earlier_starts"), list):
            raise ValueError(f"{path} is damaged: it must be an object with a list earlier_starts; delete it")
        earlier = [*last.pop("earlier_starts"), last]
    start = {"num_updates_done": num_updates_done, "changed": dict(changed)} | provenance()
    write_json_atomic(path, start | {"earlier_starts": earlier})
