"""Checkpoints that are verified when read, and a lock that keeps a second run out of a folder.

Orbax writes each checkpoint atomically, so that a killed run leaves none half-written, but it neither
notices flipped bits in arrays nor refuses another dtype, and it does not look for an older checkpoint when
the newest is damaged. This facade adds all three. On disk:

    <folder>/<step, 8 digits>/state/       every leaf under its name (`jax.tree_util.keystr` of its path)
    <folder>/<step, 8 digits>/manifest/    JSON: shape, dtype and SHA-256 of every leaf, the metadata, and
                                           the SHA-256 of all that

The checkpoint of step k is the state after k updates.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

Manifest = dict[str, Any]

_MAX_NAMED_MISMATCHES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What `Checkpoints.restore` found."""

    step: int
    """Number of updates done."""
    state: PyTree
    """Same structure as the abstract state, with JAX arrays as leaves."""
    metadata: dict[str, Any]
    """As JSON gives it back: tuples are lists, keys are strings."""


class Checkpoints:
    """The checkpoints of one run: the newest `num_kept`, each verified when it is read.

    Saving runs in the background; `wait`, `close`, the next `save` and leaving the `with` block wait for it
    and raise its errors. Reading changes nothing on disk, so an evaluation may read what a training writes.
    With several processes all of them must make the same calls on a shared file system.

    Args:
        folder: Where the checkpoints lie; made by the first `save`.
        num_kept: How many of the newest checkpoints stay.

    Raises:
        ValueError: If the folder is a file or nothing would be kept.
    """

    def __init__(self, folder: Path, *, num_kept: int = 2):
        if num_kept < 1:
            raise ValueError(f"num_kept must be at least 1, got {num_kept}.")
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} must be a folder for checkpoints, but it is a file.")
        self.folder = folder.absolute()
        self._num_kept = num_kept
        self._writer: Any = None
        self._pending: int | None = None
        self._damaged: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def steps(self) -> list[int]:
        """Steps of all checkpoints on disk, ascending; a save in progress is waited for."""
        self.wait()
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint on disk, not yet verified; None if there is none."""
        return max(self.steps, default=None)

    def save(self, step: int, state: PyTree, metadata: Mapping[str, Any]) -> None:
        """Starts to save a state; deletes checkpoints beyond `num_kept` once it is on disk.

        Checkpoints that `restore` found damaged are deleted first.

        Args:
            step: Number of updates done; must grow from save to save.
            state: JAX or NumPy arrays with at least one element each, all finite.
            metadata: Anything JSON can hold without NaN, such as the configuration.

        Raises:
            ValueError: If a leaf, the metadata or the step cannot be saved, or the previous save failed.
        """
        leaves = _named_leaves(state)
        manifest = _manifest(leaves, metadata)
        newest = max((known for known in self.steps if known not in self._damaged), default=-1)
        if step <= newest:
            raise ValueError(
                f"the step to save must be larger than {newest}, the newest checkpoint in {self.folder}, got "
                f"{step}; resume from that checkpoint or save to another folder."
            )
        import orbax.checkpoint as ocp  # Slow to import, so not before it is needed.

        if self._writer is None:
            self._writer = self._open_writer()
        for damaged in self._damaged.intersection(self._writer.all_steps()):
            self._writer.delete(damaged)
        self._damaged.clear()
        args = ocp.args.Composite(state=ocp.args.StandardSave(leaves), manifest=ocp.args.JsonSave(manifest))
        if not self._writer.save(step, args=args, force=True):
            raise ValueError(f"checkpoint {step} was refused by orbax in {self.folder}; use another folder.")
        self._pending = step

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            ValueError: If it failed; earlier checkpoints are untouched.
        """
        if self._pending is None:
            return
        step, self._pending = self._pending, None
        try:
            self._writer.wait_until_finished()
            self._writer.check_for_errors()
        except Exception as error:  # Whatever the disk can do; always passed on.
            raise ValueError(self._failed_save(step, _first_line(error))) from error
        if not self._path(step).is_dir():
            raise ValueError(self._failed_save(step, "it is missing after the save"))

    def close(self) -> None:
        """Waits for the last save and frees the writer.

        Raises:
            ValueError: If the last save failed.
        """
        try:
            self.wait()
        finally:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()

    def restore(self, abstract_state: PyTree) -> Checkpoint:
        """Reads the newest checkpoint whose every bit is as it was saved.

        A damaged one is passed over with a warning that names it; it stays on disk until the next `save`.

        Args:
            abstract_state: Leaves with `shape`, `dtype` and, where wanted, `sharding`, such as
                `jax.ShapeDtypeStruct`; leaves without a sharding go to the first device.

        Raises:
            ValueError: If the leaves, shapes or dtypes differ from what was saved, or no checkpoint is good.
        """
        targets = {name: _target(leaf) for name, leaf in _named_leaves(abstract_state).items()}
        faults: dict[int, str] = {}
        while untried := [step for step in self.steps if step not in faults]:
            step = untried[-1]
            try:
                manifest = self._read_manifest(step)
                self._check_match(step, manifest, targets)
                leaves = self._read_leaves(step, manifest, targets)
                faults[step] = ""
            except _DamagedError as error:
                faults[step] = str(error)
            if _no_process(faults[step] != ""):
                structure = jax.tree_util.tree_structure(abstract_state)
                state = jax.tree_util.tree_unflatten(structure, [leaves[name] for name in targets])
                return Checkpoint(step=step, state=state, metadata=manifest["metadata"])
            self._damaged.add(step)
            if len(untried) > 1:
                warnings.warn(
                    f"checkpoint {step} in {self.folder} is damaged: {faults[step]}. Falling back to "
                    f"checkpoint {untried[-2]}.",
                    stacklevel=2,
                )
        found = "; ".join(f"checkpoint {step}: {fault}" for step, fault in faults.items()) or "none at all"
        raise ValueError(
            f"expected a good checkpoint in {self.folder}, found {found}. Put back a copy of a good one, or "
            f"move the folder away and train from the start."
        )

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:08d}"

    def _failed_save(self, step: int, reason: str) -> str:
        return (
            f"checkpoint {step} could not be written to {self.folder}: {reason}. Earlier checkpoints are "
            f"untouched; free disk space or correct the access rights and resume."
        )

    def _open_writer(self) -> Any:
        """Opens orbax for writing, which removes what killed saves have left."""
        import orbax.checkpoint as ocp

        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.LatestN(self._num_kept),
            step_format_fixed_length=8,
            cleanup_tmp_directories=True,
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def _read(self, step: int, item: str, args: Any) -> Any:
        """Reads one item of a checkpoint; anything that fails on the way counts as damage."""
        import orbax.checkpoint as ocp

        try:
            with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
                return reader.restore(self._path(step), args=ocp.args.Composite(**{item: args}))[item]
        except Exception as error:  # Damaged files raise nearly any type; always reported by `restore`.
            raise _DamagedError(f"its {item} cannot be read: {_first_line(error)}") from error

    def _read_manifest(self, step: int) -> Manifest:
        import orbax.checkpoint as ocp

        manifest = self._read(step, "manifest", ocp.args.JsonRestore())
        content = {key: value for key, value in manifest.items() if key != "sha256"}
        if manifest.get("sha256") != _json_sha256(content):
            raise _DamagedError("its manifest does not have the SHA-256 written in it")
        return manifest

    def _check_match(
        self, step: int, manifest: Manifest, targets: Mapping[str, jax.ShapeDtypeStruct]
    ) -> None:
        """Compares leaves, shapes and dtypes; orbax would cast another dtype without a word."""
        stored = {name: _described(leaf["shape"], leaf["dtype"]) for name, leaf in manifest["leaves"].items()}
        asked = {name: _described(leaf.shape, leaf.dtype) for name, leaf in targets.items()}
        mismatches = [
            f"leaf {name}: stored {stored.get(name, 'nothing')}, asked for {asked.get(name, 'nothing')}"
            for name in sorted(stored | asked)
            if stored.get(name) != asked.get(name)
        ]
        if mismatches:
            more = len(mismatches) - _MAX_NAMED_MISMATCHES
            raise ValueError(
                f"checkpoint {step} in {self.folder} is not of the state asked for: "
                + "; ".join(mismatches[:_MAX_NAMED_MISMATCHES])
                + (f"; and {more} more" if more > 0 else "")
                + ". Use the configuration that it was saved with, or another folder."
            )

    def _read_leaves(
        self, step: int, manifest: Manifest, targets: Mapping[str, jax.ShapeDtypeStruct]
    ) -> dict[str, jax.Array]:
        import orbax.checkpoint as ocp

        leaves = self._read(step, "state", ocp.args.StandardRestore(dict(targets)))
        for name, leaf in leaves.items():
            expected, came = manifest["leaves"][name]["sha256"], _sha256(_on_host(leaf))
            if came != expected:
                raise _DamagedError(f"leaf {name} should have SHA-256 {expected}, but has {came}")
        return leaves


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder of a run, so that a second run cannot destroy its files.

    The lock ends with the process, however that ends; nothing has to be cleaned up.

    Raises:
        ValueError: If another process holds it, which is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ValueError(
                f"{folder} must be used by one run at a time, but {holder} is using it; wait for it, stop it, "
                f"or choose another folder."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
        yield


class _DamagedError(Exception):
    """A checkpoint that is not what was saved; never leaves this file."""


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns leaves by name, in the order of `jax.tree_util.tree_leaves`."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in paths}
    if len(leaves) < len(paths):
        raise ValueError(f"the {len(paths)} leaves of a state must have distinct paths, got {len(leaves)}.")
    return leaves


def _manifest(leaves: Mapping[str, Any], metadata: Mapping[str, Any]) -> Manifest:
    """Describes what is to be saved, or refuses it."""
    described = {}
    for name, leaf in leaves.items():
        if reason := _refusal(leaf):
            raise ValueError(f"leaf {name} cannot be saved: {reason}.")
        host = _on_host(leaf)
        if jnp.issubdtype(host.dtype, jnp.inexact) and not np.isfinite(host).all():
            raise ValueError(
                f"leaf {name} must be finite to be saved, but {int((~np.isfinite(host)).sum())} of its "
                f"{host.size} values are NaN or infinite; resume from the last checkpoint."
            )
        described[name] = {"shape": list(host.shape), "dtype": host.dtype.name, "sha256": _sha256(host)}
    try:
        metadata = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata must be JSON without NaN or infinity to be saved: {error}.") from error
    content = {"leaves": described, "metadata": metadata}
    return content | {"sha256": _json_sha256(content)}


def _refusal(leaf: Any) -> str | None:
    """Returns why a leaf would not come back as it is, or None."""
    if not isinstance(leaf, jax.Array | np.ndarray):
        return f"expected a JAX or NumPy array, got {type(leaf).__name__}"
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return f"typed keys are not supported, got {leaf.dtype}; save jax.random.key_data of it"
    if leaf.size == 0:
        return f"expected at least one element, got shape {leaf.shape}"
    if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype:
        return f"JAX would read {leaf.dtype} back as {jax.dtypes.canonicalize_dtype(leaf.dtype)}; cast it"
    return None


def _target(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns what orbax is to restore, always with a sharding."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _described(shape: Any, dtype: Any) -> str:
    return f"{dtype}{list(shape)}"


def _on_host(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """Returns the whole logical array, wherever its shards lie."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        from jax.experimental import multihost_utils

        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _no_process(failed: bool) -> bool:
    """Returns whether it failed in no process, so that all take the same way."""
    if jax.process_count() == 1:
        return not failed
    from jax.experimental import multihost_utils

    return not multihost_utils.process_allgather(np.array(failed)).any()


def _sha256(host: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(host).reshape(-1).view(np.uint8)).hexdigest()


def _json_sha256(content: Manifest) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    """Returns type and first line of an error; those of orbax can be pages long."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
