"""Checkpoints: what is saved comes back bit by bit, and no damage goes unnoticed."""

import gc
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jepa.checkpoint import Checkpoints
from jepa.run_folder import run_lock
from jepa.types import Goal

# Orbax leaves coroutines behind when it fails to read an array.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

AS_HERE = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
"""For processes that must compute the same bits as this one."""
METADATA = {"learning_rate": 0.1, "name": "ä", "sizes": [1, 2], "nothing": None}


def example_state(step: int) -> dict[str, Any]:
    """A state that differs from step to step in every leaf."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), step), 4)
    params = {
        "weight/kernel": jax.random.normal(keys[0], (64, 50)),
        "bias.half": jax.random.normal(keys[1], (7,), jnp.bfloat16),
    }
    opt_state = optax.adam(1e-3).init(params)
    _, opt_state = optax.adam(1e-3).update(params, opt_state)
    return {
        "params": params,
        "opt_state": opt_state,
        "goal": Goal(tokens=jnp.full((3,), step), mask=jnp.array([True, False, step % 2 == 0])),
        "bits": [jax.random.bits(keys[2], (9,), dtype) for dtype in (jnp.uint8, jnp.uint32)],
        "small": jax.random.randint(keys[3], (2, 2), -100, 100, jnp.int8),
        "num_updates": np.array(step, np.int32),
    }


def abstract(state: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)


def assert_bit_equal(state: Any, expected: Any) -> None:
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for leaf, expected_leaf in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert isinstance(leaf, jax.Array)
        assert (leaf.dtype, leaf.shape) == (expected_leaf.dtype, expected_leaf.shape)
        assert np.asarray(leaf).tobytes() == np.asarray(expected_leaf).tobytes()


@pytest.fixture(autouse=True, scope="module")
def set_aside_what_other_tests_left() -> Iterator[None]:
    """Else every collection goes through all of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def collect_what_orbax_leaves_behind() -> Iterator[None]:
    yield
    gc.collect()  # Here its pages of errors are captured; at the exit they would be shown.


@pytest.fixture(scope="module")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints 10 and 20; not to be changed."""
    folder = tmp_path_factory.mktemp("good") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (10, 20):
            checkpoints.save(step, example_state(step), METADATA | {"step": step})
    return folder


def restore_or_fall_back(folder: Path) -> int:
    """Restores, asserts that the state is as saved and that a fall-back was reported; returns its step."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = Checkpoints(folder).restore(abstract(example_state(0)))
    messages = [str(warning.message) for warning in caught if "damaged" in str(warning.message)]
    assert_bit_equal(checkpoint.state, example_state(checkpoint.step))
    assert checkpoint.metadata == METADATA | {"step": checkpoint.step}
    assert len(messages) == (checkpoint.step != 20)
    for message in messages:
        assert message.startswith(f"checkpoint 20 in {folder} is damaged: ")
        assert message.endswith("Falling back to checkpoint 10.")
    return checkpoint.step


# Round trips.


def test_round_trip_is_bit_equal(good_folder: Path) -> None:
    assert restore_or_fall_back(good_folder) == 20


def test_checkpoints_are_readable_from_a_copy_elsewhere(good_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(good_folder, tmp_path / "copy")
    assert restore_or_fall_back(tmp_path / "copy") == 20


def test_changes_after_save_do_not_reach_the_checkpoint(tmp_path: Path) -> None:
    zero = jax.jit(lambda x: 0 * x, donate_argnums=0)
    state = {"donated": jnp.arange(100_000.0), "numpy": np.arange(100_000, dtype=np.int32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        zero(state["donated"]).block_until_ready()
        state["numpy"][:] = 0
        restored = checkpoints.restore(abstract(state)).state
    expected = {"donated": jnp.arange(100_000.0), "numpy": np.arange(100_000, dtype=np.int32)}
    assert_bit_equal(restored, expected)


def test_restore_onto_given_shardings_on_more_devices(good_folder: Path) -> None:
    script = f"""
import jax, numpy as np
from pathlib import Path
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jepa.checkpoint import Checkpoints
from tests.test_checkpoint import abstract, assert_bit_equal, example_state
mesh = Mesh(np.array(jax.devices()), ("data",))
def sharded(leaf):
    spec = PartitionSpec("data") if leaf.shape == (64, 50) else PartitionSpec()
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))
asked = jax.tree.map(sharded, abstract(example_state(0)))
state = Checkpoints(Path({str(good_folder)!r})).restore(asked).state
assert_bit_equal(state, example_state(20))
assert all(jax.tree.leaves(jax.tree.map(lambda leaf, target: leaf.sharding == target.sharding, state, asked)))
assert state["params"]["weight/kernel"].addressable_shards[1].data.shape == (32, 50)
"""
    environment = AS_HERE | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, check=True, timeout=60)


# Damage.


def test_no_single_flipped_bit_goes_unnoticed(good_folder: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    files = [path.relative_to(good_folder) for path in (good_folder / "00000020").rglob("*") if path.is_file()]
    arrays = [file for file in files if "d" in file.parts]
    steps = []
    for trial, file in enumerate(rng.choices(arrays, k=20) + rng.choices(files, k=10)):
        folder = tmp_path / str(trial)
        shutil.copytree(good_folder, folder)
        content = bytearray((folder / file).read_bytes())
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << (bit % 8)
        (folder / file).write_bytes(content)
        steps.append(restore_or_fall_back(folder))
    assert set(steps) == {10, 20}  # Some files hold nothing that matters.


@pytest.mark.parametrize("damage", ["half", "empty", "deleted"])
def test_damaged_files_fall_back(good_folder: Path, tmp_path: Path, damage: str) -> None:
    steps = []
    for trial, path in enumerate((good_folder / "00000020").rglob("*")):
        if not path.is_file():
            continue
        folder = tmp_path / str(trial)
        shutil.copytree(good_folder, folder)
        file = folder / path.relative_to(good_folder)
        if damage == "deleted":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2 if damage == "half" else 0)
        steps.append(restore_or_fall_back(folder))
    assert set(steps) == {10, 20}


def test_what_a_writer_has_replaced_in_the_meantime_is_no_damage(good_folder, tmp_path, monkeypatch) -> None:
    folder, read_leaves = tmp_path / "checkpoints", Checkpoints._read_leaves
    shutil.copytree(good_folder / "00000010", folder / "00000010")

    def read_too_late(self, step, stored, targets):
        if step == 10:
            shutil.copytree(good_folder / "00000020", folder / "00000020")
            shutil.rmtree(folder / "00000010")
        return read_leaves(self, step, stored, targets)

    monkeypatch.setattr(Checkpoints, "_read_leaves", read_too_late)
    assert restore_or_fall_back(folder) == 20


def test_the_warning_names_the_damaged_leaf(good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(good_folder, folder)
    shutil.rmtree(folder / "00000020" / "state")
    with Checkpoints(tmp_path / "other") as other:  # The same arrays but for one element of one leaf.
        state = example_state(20)
        state["bits"][1] = state["bits"][1].at[3].add(1)
        other.save(20, state, {})
    shutil.copytree(tmp_path / "other" / "00000020" / "state", folder / "00000020" / "state")
    with pytest.warns(UserWarning, match=r"leaf \['bits'\]\[1\] should have SHA-256 .{64}, but has .{64}\."):
        assert Checkpoints(folder).restore(abstract(example_state(0))).step == 10


def test_changed_metadata_counts_as_damage(good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(good_folder, folder)
    file = folder / "00000020" / "manifest" / "metadata"
    file.write_text(file.read_text().replace('"learning_rate": 0.1', '"learning_rate": 0.2'))
    assert restore_or_fall_back(folder) == 10


def test_nothing_good_is_an_error(good_folder: Path, tmp_path: Path) -> None:
    state = abstract(example_state(0))
    assert Checkpoints(tmp_path / "empty").latest_step is None
    with pytest.raises(ValueError, match=r"empty, found none\. Put back a copy"):
        Checkpoints(tmp_path / "empty").restore(state)
    folder = tmp_path / "checkpoints"
    shutil.copytree(good_folder, folder)
    for step in (10, 20):
        shutil.rmtree(folder / f"{step:08d}" / "state" / "d")
    with pytest.warns(UserWarning, match="checkpoint 20"), pytest.raises(ValueError) as caught:
        Checkpoints(folder).restore(state)
    for part in (str(folder), "checkpoint 20", "checkpoint 10", "train from the start"):
        assert part in str(caught.value)


def test_the_next_save_replaces_damaged_checkpoints(good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(good_folder, folder)
    shutil.rmtree(folder / "00000020" / "state" / "d")
    with Checkpoints(folder) as checkpoints:
        with pytest.warns(UserWarning, match="Falling back to checkpoint 10"):
            checkpoints.restore(abstract(example_state(0)))
        assert checkpoints.steps == [10, 20]
        checkpoints.save(15, example_state(15), {})
        assert checkpoints.steps == [10, 15]
        checkpoints.save(20, example_state(20), METADATA | {"step": 20})
    assert restore_or_fall_back(folder) == 20


# Mismatches are no damage: no fall-back, whatever older checkpoints hold.


def with_leaf(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    state = abstract(example_state(0))
    change(state)
    return state


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            with_leaf(lambda state: state.update(small=jax.ShapeDtypeStruct((2, 2), jnp.int32))),
            r"leaf ['small']: stored int8[2, 2], asked for int32[2, 2]",
        ),
        (
            with_leaf(lambda state: state.update(small=jax.ShapeDtypeStruct((2, 3), jnp.int8))),
            r"leaf ['small']: stored int8[2, 2], asked for int8[2, 3]",
        ),
        (
            with_leaf(lambda state: state["params"].pop("bias.half")),
            r"leaf ['params']['bias.half']: stored bfloat16[7], asked for nothing",
        ),
        (
            with_leaf(lambda state: state.update(more=jax.ShapeDtypeStruct((), jnp.float32))),
            r"leaf ['more']: stored nothing, asked for float32[]",
        ),
    ],
    ids=["dtype", "shape", "leaf not asked for", "leaf not stored"],
)
def test_another_state_is_refused(good_folder: Path, asked: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError) as caught:
        warnings.simplefilter("error")
        Checkpoints(good_folder).restore(asked)
    assert f"checkpoint 20 in {good_folder} is of another state, 1 leaves differ: {message}." in str(caught.value)


# What is not saved.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_leaves_are_never_saved(tmp_path: Path, dtype: Any, value: float) -> None:
    state = {"good": jnp.zeros(3), "bad": jnp.ones((2, 2), dtype)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        bad = state | {"bad": state["bad"].at[0, 1].set(value)}
        with pytest.raises(ValueError, match=r"leaf \['bad'\] cannot be saved: 1 of 4 values are not finite"):
            checkpoints.save(2, bad, {})
        assert checkpoints.steps == [1]
        assert_bit_equal(checkpoints.restore(state).state, state)


@pytest.mark.parametrize(
    ("leaf", "came"),
    [
        (3.0, "float"),
        (jnp.zeros((0, 3)), r"float32\[0, 3\]"),
        (np.zeros(2), r"float64\[2\]"),
        (jax.random.key(0), r"key<fry>\[\]"),
        (np.array(["text"]), r"<U4\[1\]"),
    ],
    ids=["python number", "empty", "double precision", "typed key", "text"],
)
def test_leaves_that_would_not_come_back_are_refused(tmp_path: Path, leaf: Any, came: str) -> None:
    with pytest.raises(ValueError, match=rf"leaf \['x'\] must be a non-empty array of a JAX dtype, got {came};"):
        Checkpoints(tmp_path).save(1, {"x": leaf}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, object(), {1, 2}])
def test_metadata_must_be_json(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="metadata cannot be saved as JSON"):
        Checkpoints(tmp_path).save(1, {"x": jnp.ones(1)}, {"value": value})


# Housekeeping.


def test_the_newest_stay_and_steps_grow(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "a" / "b") as checkpoints:
        for step in (0, 1, 7):  # The last step need not fit an interval.
            checkpoints.save(step, {"x": jnp.full(3, step)}, {})
        assert checkpoints.steps == [1, 7]
        assert checkpoints.latest_step == 7
        for step in (7, 3):
            with pytest.raises(ValueError, match=f"expected step > 7, newest in .*, got {step}"):
                checkpoints.save(step, {"x": jnp.ones(3)}, {})
    with Checkpoints(tmp_path / "a" / "b", num_kept=1) as checkpoints:
        checkpoints.save(8, {"x": jnp.ones(3)}, {})
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["00000008"]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        Checkpoints(tmp_path / "file")
    with pytest.raises(ValueError, match="num_kept must be at least 1, got 0"):
        Checkpoints(tmp_path, num_kept=0)


def test_only_a_writer_removes_temporary_folders(good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(good_folder, folder)
    temporary = folder / "00000030.orbax-checkpoint-tmp"
    shutil.copytree(folder / "00000020", temporary)
    assert restore_or_fall_back(folder) == 20
    assert temporary.exists()
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(30, example_state(30), {})
    assert sorted(path.name for path in folder.iterdir()) == ["00000020", "00000030"]


def test_a_full_disk_costs_one_checkpoint(tmp_path: Path) -> None:
    def state(step: int) -> dict[str, jax.Array]:
        return {"x": jax.random.normal(jax.random.key(step), (300, 300))}

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step), {})
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(ValueError, match="checkpoint 3 could not be written to .*File too large"):
                checkpoints.save(3, state(3), {})
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert_bit_equal(checkpoints.restore(state(0)).state, state(2))
        checkpoints.save(4, state(4), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000004"]


def test_a_run_killed_while_saving_leaves_good_checkpoints(tmp_path: Path) -> None:
    script = f"""
import itertools, jax
from pathlib import Path
from jepa.checkpoint import Checkpoints
with Checkpoints(Path({str(tmp_path)!r})) as checkpoints:
    for step in itertools.count(1):
        checkpoints.save(step, {{"x": jax.random.normal(jax.random.key(step), (1000, 1000))}}, {{}})
        print(step, flush=True)
"""
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, env=AS_HERE, stdout=subprocess.PIPE, text=True) as process:
        for line in itertools.islice(process.stdout, 5):
            started = int(line)
        time.sleep(random.Random(0).random() * 0.05)
        process.kill()
    checkpoints = Checkpoints(tmp_path)
    checkpoint = checkpoints.restore({"x": jax.ShapeDtypeStruct((1000, 1000), jnp.float32)})
    assert checkpoint.step >= started - 1  # A save has ended before the next one starts.
    expected = {"x": jax.random.normal(jax.random.key(checkpoint.step), (1000, 1000))}
    assert_bit_equal(checkpoint.state, expected)
    with checkpoints:
        checkpoints.save(checkpoint.step + 1, expected, {})
    assert all(path.name.isdecimal() for path in tmp_path.iterdir())


def test_the_manifest_is_plain_json(good_folder: Path) -> None:
    manifest = json.loads((good_folder / "00000020" / "manifest" / "metadata").read_text())
    assert manifest["metadata"] == METADATA | {"step": 20}
    assert manifest["leaves"]["['goal'].mask"] == {
        "shape": [3],
        "dtype": "bool",
        "sha256": hashlib.sha256(b"\1\0\1").hexdigest(),
    }


# The lock.


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"):
        expected = rf"run is in use by process {os.getpid()} on host \S+; wait or choose another folder"
        with pytest.raises(ValueError, match=expected), run_lock(tmp_path / "run"):
            pass
    with run_lock(tmp_path / "run"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from jepa.run_folder import run_lock
with run_lock(Path({str(tmp_path)!r})):
    print("locked", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on host"), run_lock(tmp_path):
            pass
        process.kill()
    with run_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
