"""The files of a dataset: how they are written, and what is refused when they are read.

`data/README.md` draws the layout.
"""

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from jepa.array_files import arrays_from_npz
from jepa.behaviours import Behaviour
from jepa.envs.base import Env
from jepa.types import Trajectories

SCHEMA_VERSION = 1
"""Raise it when the layout changes; other versions are refused."""
ARRAYS = ("states", "actions", "legal_actions")
"""What a file holds, as in `Trajectories`."""
TRANSITIONS_PER_SHARD = 2**20
"""A file holds as many whole walks as fit into this many transitions, and at least one."""


def describe_env(env: Env) -> dict[str, Any]:
    """Returns what the manifest says of the domain: its name and the sizes that shape the arrays."""
    sizes = {size: getattr(env, size) for size in ("num_tokens", "vocab_size", "num_actions")}
    return {"name": env.name, **sizes}


def describe_behaviour(behaviour: Behaviour) -> dict[str, Any]:
    """Returns what the manifest says of the behaviour: its class and its fields."""
    return {"class": type(behaviour).__name__, **dataclasses.asdict(behaviour)}


def refusal(path: Path, reason: str) -> ValueError:
    """Builds the error for a file that is not what it should be."""
    return ValueError(f"{path}: {reason}; delete the folder {path.parent} and collect it again")


def write_shards(folder: Path, trajectories: Trajectories, env: Env) -> list[dict[str, Any]]:
    """Writes the walks to numbered files and returns their entries in the manifest.

    Raises:
      ValueError: there are no walks, or they cannot be of this domain.
    """
    num_walks, walk_length = trajectories.actions.shape
    if num_walks * walk_length == 0:
        raise ValueError(f"expected at least one walk of one action, came {num_walks} of {walk_length}")
    walks_per_shard = max(1, TRANSITIONS_PER_SHARD // walk_length)
    entries = []
    for index, first in enumerate(range(0, num_walks, walks_per_shard)):
        walks = slice(first, first + walks_per_shard)
        arrays = {name: np.asarray(getattr(trajectories, name)[walks]) for name in ARRAYS}
        reason = _impossible_values(arrays, env)
        if reason is not None:
            raise ValueError(f"these are not walks of {env.name}: {reason}")
        stored = {name: arrays[name].astype(dtype) for name, dtype in _stored_dtypes(env).items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **stored)
        content = buffer.getvalue()
        (folder / _shard_name(index)).write_bytes(content)
        entries.append(
            {
                "name": _shard_name(index),
                "num_walks": len(arrays["actions"]),
                "num_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    return entries


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest and checks its form, so that what follows may rely on it.

    Raises:
      ValueError: it is missing, unreadable, of another version, or describes no walks.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise refusal(path, "the manifest is missing, so there is no complete dataset")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise refusal(path, f"the manifest is not valid JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise refusal(path, f"expected a manifest with schema_version {SCHEMA_VERSION}")
    files = manifest.get("files")
    if not isinstance(files, list) or not files:
        raise refusal(path, "the dataset is empty: the manifest lists no files")
    for index, entry in enumerate(files):
        # Only these names are ever opened, so a manifest cannot point outside of its folder.
        if not isinstance(entry, dict) or entry.get("name") != _shard_name(index):
            raise refusal(path, f"expected an entry for {_shard_name(index)}, came {entry}")
        _check_count(path, entry, "num_walks")
    for field in ("num_walks", "walk_length", "num_transitions"):
        _check_count(path, manifest, field)
    if manifest["num_transitions"] != manifest["num_walks"] * manifest["walk_length"]:
        raise refusal(path, "num_transitions is not num_walks times walk_length")
    if manifest["num_walks"] != sum(entry["num_walks"] for entry in files):
        raise refusal(path, "num_walks is not the sum over the files")
    return manifest


def _check_count(path: Path, record: dict[str, Any], field: str) -> None:
    if type(record.get(field)) is not int or record[field] < 1:
        raise refusal(path, f"expected {field} to be a positive integer, came {record.get(field)}")


def read_shards(folder: Path, manifest: dict[str, Any], env: Env) -> dict[str, np.ndarray]:
    """Returns the arrays of all files that a checked manifest lists, joined.

    Raises:
      ValueError: a file is missing, is not the one that was written, or holds what the domain cannot produce.
    """
    walk_length = manifest["walk_length"]
    shards = [
        _read_shard(folder / entry["name"], entry, walk_length=walk_length, env=env) for entry in manifest["files"]
    ]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in ARRAYS}


def _read_shard(path: Path, entry: dict[str, Any], *, walk_length: int, env: Env) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise refusal(path, "the file is missing")
    content = path.read_bytes()
    came = {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for field, value in came.items():
        if entry.get(field) != value:
            raise refusal(path, f"expected {field} {entry.get(field)} as in the manifest, came {value}")
    arrays = _read_arrays(path, content)
    num_walks = entry["num_walks"]
    shapes = {
        "states": (num_walks, walk_length + 1, env.num_tokens),
        "actions": (num_walks, walk_length),
        "legal_actions": (num_walks, walk_length + 1, env.num_actions),
    }
    for name, dtype in _stored_dtypes(env).items():
        array = arrays[name]
        if array.shape != shapes[name] or array.dtype != dtype:
            expected = f"{name} as {dtype} of shape {shapes[name]}"
            raise refusal(path, f"expected {expected}, came {array.dtype} of shape {array.shape}")
    reason = _impossible_values(arrays, env)
    if reason is not None:
        raise refusal(path, reason)
    return arrays


def _read_arrays(path: Path, content: bytes) -> dict[str, np.ndarray]:
    """Unpacks a file without ever unpickling."""
    try:
        stored = arrays_from_npz(content)
    except ValueError as error:
        raise refusal(path, f"the file does not hold {', '.join(ARRAYS)} as plain arrays: {error}") from error
    if missing := sorted(set(ARRAYS) - stored.keys()):
        raise refusal(path, f"the file does not hold {', '.join(missing)} among its plain arrays")
    return {name: stored[name] for name in ARRAYS}


def _shard_name(index: int) -> str:
    return f"walks-{index:05d}.npz"


def _stored_dtypes(env: Env) -> dict[str, np.dtype]:
    """Returns the types on disk: the smallest that hold every token and every action of the domain."""
    return {
        "states": np.min_scalar_type(env.vocab_size - 1),
        "actions": np.dtype(np.int8 if env.num_actions <= 128 else np.int16),
        "legal_actions": np.dtype(bool),
    }


def _impossible_values(arrays: dict[str, np.ndarray], env: Env) -> str | None:
    """Says which numbers lie outside of the domain's."""
    for name, limit in (("states", env.vocab_size), ("actions", env.num_actions)):
        low, high = arrays[name].min(), arrays[name].max()
        if low < 0 or high >= limit:
            return f"expected {name} in 0..{limit - 1}, came {low}..{high}"
    return None
