"""Exact distances of every state of a small domain to one goal: breadth-first search, kept on disk.

A table is indexed by a state's *number*, which the domain defines (see `rank_permutations`), so that it is
one flat array: 7 MB for the pocket cube.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer

FORMAT = "jepa distance table 1"
"""Raise the number when the meaning of a table changes; older files are then rebuilt."""


def breadth_first_distances(
    *,
    num_states: int,
    goal: int,
    neighbours: Callable[[Int[np.ndarray, " F"]], Iterable[Int[np.ndarray, " G"]]],
) -> Int[np.ndarray, " num_states"]:
    """Returns the distance of every state to the goal, -1 where the goal cannot be reached.

    Args:
      num_states: states are numbered [0, num_states).
      goal: the number of the goal.
      neighbours: given the numbers of a frontier, yields arrays of the numbers of adjacent states, such as
        one array per action. Being adjacent must be mutual (every action can be undone by one action).
    """
    distances = np.full(num_states, -1, np.int16)
    distances[goal] = 0
    frontier, depth = np.array([goal]), 0
    while frontier.size:
        depth += 1
        for adjacent in neighbours(frontier):
            distances[adjacent[distances[adjacent] < 0]] = depth
        frontier = np.flatnonzero(distances == depth)
    return distances


def rank_permutations(permutations: Integer[np.ndarray, "B n"]) -> Int[np.ndarray, " B"]:
    """Numbers the permutations of 0..n-1 in lexicographic order, from 0 to n! - 1."""
    columns = np.ascontiguousarray(permutations.T)
    num_items = len(columns)
    ranks = np.zeros(columns.shape[1], np.int64)
    for i in range(num_items):
        num_smaller_behind = (columns[i + 1 :] < columns[i]).sum(axis=0)
        ranks += num_smaller_behind * math.factorial(num_items - 1 - i)
    return ranks


def unrank_permutations(ranks: Int[np.ndarray, " B"], num_items: int) -> Integer[np.ndarray, "B num_items"]:
    """Inverts `rank_permutations`."""
    columns = np.zeros((num_items, len(ranks)), np.uint8)
    for i in reversed(range(num_items)):
        columns[i] = ranks // math.factorial(num_items - 1 - i) % (num_items - i)
        columns[i + 1 :] += columns[i + 1 :] >= columns[i]
    return columns.T


def cache_folder() -> Path:
    """Where tables are kept: the environment variable JEPA_CACHE_DIR, else `~/.cache/jepa`."""
    return Path(os.environ.get("JEPA_CACHE_DIR") or Path.home() / ".cache" / "jepa")


def cached_distances(
    *, name: str, num_states: int, build: Callable[[], Int[np.ndarray, " num_states"]]
) -> Int[np.ndarray, " num_states"]:
    """Returns a table from the cache folder, building and storing it where it is missing or damaged.

    A file is the SHA-256 of its name, its format and its content, followed by the content: little-endian
    int16 distances. It is written beside its place and moved there, so that a reader never sees half a table.

    Args:
      name: unique name of the table; the file's name without its suffix.
      num_states: length of the table.
      build: computes the table.

    Raises:
      ValueError: the cache folder cannot be written to.
    """
    path = cache_folder() / f"{name}.distances"
    content = _read_content(path, name)
    if content is None or len(content) != 2 * num_states:
        content = build().astype("<i2").tobytes()
        try:
            _write_atomically(path, _digest(name, content) + content)
        except OSError as error:
            raise ValueError(
                f"the distance table {path} cannot be written ({error}); set the environment variable "
                "JEPA_CACHE_DIR to a folder that can be written to"
            ) from error
    return np.frombuffer(content, "<i2").astype(np.int16)


def _read_content(path: Path, name: str) -> bytes | None:
    """Returns the content of a table's file, None where it is missing or damaged."""
    if not path.is_file():
        return None
    stored = path.read_bytes()
    digest, content = stored[:32], stored[32:]
    return content if digest == _digest(name, content) else None


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(f"{FORMAT}\n{name}\n".encode() + content).digest()


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
