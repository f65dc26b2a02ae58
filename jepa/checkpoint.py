"""Checkpoints that are verified when read.

Orbax writes a checkpoint atomically, so that a killed run leaves none half-written. But it does not notice
flipped bits in arrays, casts to another dtype without a word, and never looks for an older checkpoint when
the newest is damaged; this facade does. On disk, for the state after k updates:

    <folder>/<k, 8 digits>/state/       every leaf under its name, `jax.tree_util.keystr` of its path
    <folder>/<k, 8 digits>/manifest/    JSON: shape, dtype, SHA-256 of every leaf, metadata, SHA-256 of it all
"""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PyTree


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
    """The newest checkpoints of one run, each verified when it is read.

    Saving runs in the background; every other call and the end of the `with` block wait for it and raise its
    errors. Reading changes nothing on disk, so another process may be writing. Processes that train together
    all make the same calls, on a shared file system.

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
        self._manager: Any = None
        self._pending: int | None = None
        self._damaged: set[int] = set()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def steps(self) -> list[int]:
        """Steps of all checkpoints on disk, ascending, not yet verified."""
        self.wait()
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint on disk, not yet verified; None if there is none."""
        return max(self.steps, default=None)

    def save(self, step: int, state: PyTree, metadata: Mapping[str, Any]) -> None:
        """Starts to save a state; deletes what `restore` found damaged and, later, what is beyond `num_kept`.

        Args:
            step: Number of updates done; grows from save to save.
            state: JAX or NumPy arrays with at least one element each, all finite.
            metadata: Anything that JSON can hold without NaN, such as the configuration.

        Raises:
            ValueError: If a leaf, the metadata or the step cannot be saved, or the previous save failed.
        """
        leaves = _named_leaves(state)
        manifest = _manifest(leaves, metadata)
        newest = max({*self.steps} - self._damaged, default=-1)
        if step <= newest:
            raise ValueError(f"expected step > {newest}, newest in {self.folder}, got {step}; resume it.")
        import orbax.checkpoint as ocp  # Slow to import, so not before it is needed.

        if self._manager is None:
            options = ocp.CheckpointManagerOptions(
                preservation_policy=ocp.checkpoint_managers.LatestN(self._num_kept),
                step_format_fixed_length=8,
                cleanup_tmp_directories=True,  # What killed saves have left.
            )
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        for damaged in self._damaged.intersection(self._manager.all_steps()):
            self._manager.delete(damaged)
        self._damaged.clear()
        self._pending = step
        args = ocp.args.Composite(state=ocp.args.StandardSave(leaves), manifest=ocp.args.JsonSave(manifest))
        self._manager.save(step, args=args, force=True)  # Orbax skips steps by rules of its own otherwise.

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            ValueError: If it failed; earlier checkpoints are untouched.
        """
        if self._pending is None:
            return
        step, self._pending = self._pending, None
        try:
            self._manager.wait_until_finished()
            multihost_utils.sync_global_devices("checkpoint")  # Process 0 puts it in place, perhaps later.
            self._path(step).stat()  # Orbax can fail without an error.
        except Exception as error:  # Whatever a disk can do; always passed on.
            self._manager = None  # Its list of checkpoints is wrong now.
            raise ValueError(
                f"checkpoint {step} could not be written to {self.folder}: {_short(error)}. Earlier ones are "
                f"untouched; free disk space or correct the access rights, and resume."
            ) from error

    def close(self) -> None:
        """Waits for the last save, with the errors of `wait`."""
        self.wait()
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def restore(self, abstract_state: PyTree) -> Checkpoint:
        """Reads the newest checkpoint whose every bit is as it was saved.

        A damaged one is passed over with a warning that names it; it stays on disk until the next `save`.

        Args:
            abstract_state: Leaves with `shape`, `dtype` and, where wanted, `sharding`, such as
                `jax.ShapeDtypeStruct`; a leaf without sharding goes to the first device.

        Raises:
            ValueError: If leaves, shapes or dtypes differ from what was saved, or no checkpoint is good.
        """
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        targets = {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None) or device)
            for name, x in _named_leaves(abstract_state).items()
        }
        faults: dict[int, str] = {}
        while untried := [step for step in self.steps if step not in faults]:
            step, fault = untried[-1], ""
            try:
                manifest = self._read_manifest(step)
                self._require_match(step, manifest["leaves"], targets)
                leaves = self._read_leaves(step, manifest["leaves"], targets)
            except _DamagedError as error:
                fault = str(error)
            if not multihost_utils.process_allgather(np.array(fault != "")).any():  # All go the same way.
                values = [leaves[name] for name in targets]
                state = jax.tree.unflatten(jax.tree.structure(abstract_state), values)
                return Checkpoint(step=step, state=state, metadata=manifest["metadata"])
            if any(newer > step for newer in self.steps if newer not in faults):
                continue  # Another process has saved on, and deleted what was being read.
            faults[step] = f"checkpoint {step} in {self.folder} is damaged: {fault}"
            self._damaged.add(step)
            if len(untried) > 1:
                warnings.warn(f"{faults[step]}. Falling back to checkpoint {untried[-2]}.", stacklevel=2)
        raise ValueError(
            f"expected a good checkpoint in {self.folder}, found {'; '.join(faults.values()) or 'none'}. Put "
            f"back a copy of a good one, or move the folder away and train from the start."
        )

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:08d}"

    def _read_manifest(self, step: int) -> dict[str, Any]:
        try:
            manifest = json.loads((self._path(step) / "manifest" / "metadata").read_bytes())
            if manifest.pop("sha256") != _json_sha256(manifest):
                raise ValueError("it does not have the SHA-256 written in it")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise _DamagedError(f"its manifest cannot be read ({_short(error)})") from error
        return manifest

    def _require_match(self, step: int, stored: dict[str, Any], targets: dict[str, Any]) -> None:
        have = {name: f"{leaf['dtype']}{leaf['shape']}" for name, leaf in stored.items()}
        want = {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in targets.items()}
        mismatches = [
            f"leaf {name}: stored {have.get(name, 'nothing')}, asked for {want.get(name, 'nothing')}"
            for name in have | want
            if have.get(name) != want.get(name)
        ]
        if mismatches:
            raise ValueError(
                f"checkpoint {step} in {self.folder} is of another state, {len(mismatches)} leaves differ: "
                f"{'; '.join(mismatches[:5])}. Use the configuration it was saved with, or another folder."
            )

    def _read_leaves(self, step: int, stored: dict[str, Any], targets: dict[str, Any]) -> dict[str, jax.Array]:
        import orbax.checkpoint as ocp

        try:
            with ocp.StandardCheckpointer() as reader:
                leaves = reader.restore(self._path(step) / "state", targets)
        except Exception as error:  # Damaged files raise nearly any type; `restore` reports all.
            raise _DamagedError(f"its leaves cannot be read ({_short(error)})") from error
        for name, leaf in leaves.items():
            expected, came = stored[name]["sha256"], _sha256(_on_host(leaf))
            if came != expected:
                raise _DamagedError(f"leaf {name} should have SHA-256 {expected}, but has {came}")
        return leaves


class _DamagedError(Exception):
    """A checkpoint is not what was saved; never leaves this file."""


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns leaves by name, in the order of `jax.tree_util.tree_leaves`."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in paths}
    if len(leaves) < len(paths):
        raise ValueError(f"the {len(paths)} leaves of a state must have distinct names, got {len(leaves)}.")
    return leaves


def _manifest(leaves: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Describes what is to be saved, or refuses it."""
    described = {}
    for name, leaf in leaves.items():
        if not (isinstance(leaf, jax.Array | np.ndarray) and _comes_back(leaf)):
            came = f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__
            raise ValueError(f"leaf {name} must be a non-empty array of a JAX dtype, got {came}; convert it.")
        host = _on_host(leaf)
        if jnp.issubdtype(host.dtype, jnp.inexact) and (num_bad := host.size - int(np.isfinite(host).sum())):
            raise ValueError(f"leaf {name} cannot be saved: {num_bad} of {host.size} values are not finite.")
        described[name] = {"shape": list(host.shape), "dtype": host.dtype.name, "sha256": _sha256(host)}
    try:
        content = json.loads(json.dumps({"leaves": described, "metadata": metadata}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata cannot be saved as JSON: {error}.") from error
    return content | {"sha256": _json_sha256(content)}


def _comes_back(leaf: jax.Array | np.ndarray) -> bool:
    is_number = jnp.issubdtype(leaf.dtype, jnp.number) or leaf.dtype == bool
    return is_number and leaf.size > 0 and jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype


def _on_host(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """Returns the whole logical array, wherever its shards lie."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def _sha256(host: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(host).reshape(-1).view(np.uint8)).hexdigest()


def _json_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _short(error: BaseException) -> str:
    root = error.__cause__ or error  # Orbax tells pages; its cause says in one line which leaf of which file.
    return f"{type(root).__name__}: {str(root).partition(' [tensorstore_spec')[0].partition(chr(10))[0]}"
