import hashlib
import io
import json
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa
from jepa import dataset_files
from jepa.behaviours import NonBacktrackingWalks, RandomWalks
from jepa.dataset import collect, collect_walks, dataset_path, load_dataset, save_dataset
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.types import Trajectories

CUBE = PocketCube()
TILES = SlidingTiles()
BEHAVIOUR = NonBacktrackingWalks(walk_length=14)


@pytest.fixture(scope="module")
def cube_walks() -> Trajectories:
    return collect_walks(CUBE, BEHAVIOUR, 14 * 500, seed=0)


def same(one: Trajectories, other: Trajectories) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), one, other))


# --- Walks.


@pytest.mark.parametrize("env", [CUBE, TILES], ids=lambda env: env.name)
@pytest.mark.parametrize("behaviour", [RandomWalks(walk_length=7), NonBacktrackingWalks(walk_length=7)])
def test_walks_follow_the_dynamics(env, behaviour):
    walks = collect_walks(env, behaviour, 7 * 20, seed=1)
    assert walks.states.shape == (20, 8, env.num_tokens) and walks.states.dtype == np.int32
    assert walks.actions.shape == (20, 7) and walks.actions.dtype == np.int32
    step = jax.jit(jax.vmap(jax.vmap(env.step)))
    assert np.array_equal(step(walks.states[:, :-1], walks.actions), walks.states[:, 1:])
    legal_actions = jax.jit(jax.vmap(jax.vmap(env.legal_actions)))
    assert np.array_equal(legal_actions(walks.states), walks.legal_actions)
    assert np.take_along_axis(walks.legal_actions[:, :-1], walks.actions[..., None], axis=-1).all()
    assert (walks.states[:, 0] == env.initial_state(jax.random.key(0))).all()


def test_walks_depend_on_seed_and_index_alone(cube_walks):
    fewer = collect_walks(CUBE, BEHAVIOUR, 14 * 3, seed=0)
    assert same(fewer, jax.tree.map(lambda leaf: leaf[:3], cube_walks))
    assert not same(fewer, collect_walks(CUBE, BEHAVIOUR, 14 * 3, seed=1))
    assert len(np.unique(cube_walks.actions, axis=0)) == 500


def test_random_walks_choose_every_legal_action_equally_often():
    walks = collect_walks(CUBE, RandomWalks(walk_length=6), 6_000, seed=0)
    counts = np.bincount(walks.actions.ravel(), minlength=6)
    assert np.abs(counts - 1_000).max() < 5 * np.sqrt(1_000 * 5 / 6)
    backtracks = (walks.actions[:, 1:] == walks.actions[:, :-1] ^ 1).sum()
    assert np.abs(backtracks - 5_000 / 6) < 5 * np.sqrt(5_000 * 5 / 36)


def test_non_backtracking_walks_choose_every_other_action_equally_often(cube_walks):
    # Relative to the inverse of the last turn: 0 never, the five others equally often.
    counts = np.bincount(((cube_walks.actions[:, 1:] - (cube_walks.actions[:, :-1] ^ 1)) % 6).ravel())
    mean = 500 * 13 / 5
    assert counts[0] == 0
    assert np.abs(counts[1:] - mean).max() < 5 * np.sqrt(mean * 4 / 5)
    first = np.bincount(cube_walks.actions[:, 0], minlength=6)
    assert np.abs(first - 500 / 6).max() < 5 * np.sqrt(500 * 5 / 36)


def test_non_backtracking_walks_do_not_return_at_once():
    walks = collect_walks(TILES, NonBacktrackingWalks(walk_length=30), 30 * 20, seed=0)
    assert (walks.states[:, 2:] != walks.states[:, :-2]).any(axis=-1).all()


class Corridor(SlidingTiles):
    """A single row of two cells, seen from inside: every cell is a dead end."""

    def legal_actions(self, state):
        return super().legal_actions(state) & jnp.array([False, False, True, True])


class Wall(SlidingTiles):
    """No way out."""

    def legal_actions(self, state):
        return jnp.zeros(4, bool)

    def step(self, state, action):
        return state


def test_a_dead_end_is_left_the_way_it_was_entered():
    walks = collect_walks(Corridor(rows=2, columns=2), NonBacktrackingWalks(walk_length=5), 10, seed=0)
    assert walks.actions.tolist() == [[2, 3, 2, 3, 2]] * 2


@pytest.mark.parametrize("behaviour", [RandomWalks(walk_length=3), NonBacktrackingWalks(walk_length=3)])
def test_without_legal_actions_nothing_happens(behaviour):
    walks = collect_walks(Wall(), behaviour, 3, seed=0)
    assert walks.actions.tolist() == [[0, 0, 0]]
    assert not walks.legal_actions.any()


@pytest.mark.parametrize(
    ("num_transitions", "nearest"),
    [(14_001, "14000 and 14014"), (13, "14"), (0, "14"), (-5, "14"), (15, "14 and 28")],
)
def test_transitions_that_are_no_whole_walks_are_refused(num_transitions, nearest):
    with pytest.raises(ValueError, match=f"came {num_transitions}; nearest valid: {nearest}$"):
        collect_walks(CUBE, BEHAVIOUR, num_transitions, seed=0)


def test_walks_without_actions_are_refused():
    with pytest.raises(ValueError, match="at least 1, came 0"):
        RandomWalks(walk_length=0)


# --- Files.


@pytest.fixture
def folder(tmp_path, cube_walks) -> Path:
    folder = tmp_path / "data" / "walks"
    save_dataset(folder, cube_walks, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    return folder


@pytest.mark.parametrize("transitions_per_shard", [1, 14 * 70, 2**20])
def test_round_trip(tmp_path, cube_walks, monkeypatch, transitions_per_shard):
    monkeypatch.setattr(dataset_files, "TRANSITIONS_PER_SHARD", transitions_per_shard)
    walks = jax.tree.map(lambda leaf: leaf[:100], cube_walks)
    save_dataset(tmp_path / "walks", walks, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    assert same(load_dataset(tmp_path / "walks", CUBE), walks)
    num_files = {1: 100, 14 * 70: 2, 2**20: 1}[transitions_per_shard]
    assert len(list((tmp_path / "walks").iterdir())) == num_files + 1


def test_files_are_small_documented_and_reproducible(folder, tmp_path, cube_walks):
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "walks-00000.npz"]
    assert [path.name for path in folder.parent.iterdir()] == ["walks"]
    with np.load(folder / "walks-00000.npz", allow_pickle=False) as stored:
        dtypes = {name: stored[name].dtype for name in stored}
    assert dtypes == {"states": np.uint8, "actions": np.int8, "legal_actions": bool}
    content = (folder / "walks-00000.npz").read_bytes()
    assert json.loads((folder / "manifest.json").read_text()) == {
        "schema_version": 1,
        "library_version": jepa.__version__,
        "env": {"name": "pocket_cube", "num_tokens": 24, "vocab_size": 6, "num_actions": 6},
        "behaviour": {"class": "NonBacktrackingWalks", "walk_length": 14},
        "seed": 0,
        "num_walks": 500,
        "walk_length": 14,
        "num_transitions": 7_000,
        "files": [
            {
                "name": "walks-00000.npz",
                "num_walks": 500,
                "num_bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
    }
    save_dataset(tmp_path / "again", cube_walks, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_dataset_is_never_overwritten(folder, cube_walks):
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="never overwritten"):
        save_dataset(folder, cube_walks, env=CUBE, behaviour=BEHAVIOUR, seed=1)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, cube_walks, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        save_dataset(tmp_path / "walks", cube_walks, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_walks_of_another_domain_are_not_saved(tmp_path, cube_walks):
    outside = Trajectories(
        states=cube_walks.states + 1, actions=cube_walks.actions, legal_actions=cube_walks.legal_actions
    )
    with pytest.raises(ValueError, match="expected states in 0..5, came 1..6"):
        save_dataset(tmp_path / "walks", outside, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    none = jax.tree.map(lambda leaf: leaf[:0], cube_walks)
    with pytest.raises(ValueError, match="at least one walk"):
        save_dataset(tmp_path / "walks", none, env=CUBE, behaviour=BEHAVIOUR, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_another_domain_is_refused(folder):
    with pytest.raises(ValueError, match="sliding_tiles_3x3.*pocket_cube.*delete the folder"):
        load_dataset(folder, TILES)


@pytest.mark.parametrize("position", [0, 1_000, -1])
def test_a_flipped_byte_is_refused(folder, position):
    path = folder / "walks-00000.npz"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="walks-00000.npz: expected sha256 .*delete the folder .* collect it again"):
        load_dataset(folder, CUBE)


@pytest.mark.parametrize("name", ["walks-00000.npz", "manifest.json"])
def test_a_missing_or_truncated_file_is_refused(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{name}: .*delete the folder"):
        load_dataset(folder, CUBE)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name}: .*missing.*delete the folder"):
        load_dataset(folder, CUBE)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"schema_version": 2}', b'"walks"'])
def test_another_manifest_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match="manifest.json: .*delete the folder"):
        load_dataset(folder, CUBE)


def edit_manifest(folder: Path, edit) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest, manifest["files"][0])
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest, file: file.update(name="../walks-00000.npz"),
        lambda manifest, file: file.update(name="walks-00001.npz"),
        lambda manifest, file: file.update(name=None),
        lambda manifest, file: file.update(num_bytes=1),
        lambda manifest, file: file.update(sha256="0" * 64),
        lambda manifest, file: file.update(num_walks=499),
        lambda manifest, file: file.update(num_walks=True),
        lambda manifest, file: manifest.update(files=[]),
        lambda manifest, file: manifest.update(files={}),
        lambda manifest, file: manifest.update(files=["walks-00000.npz"]),
        lambda manifest, file: manifest["files"].append(file),
        lambda manifest, file: manifest.update(num_walks=0),
        lambda manifest, file: manifest.update(num_walks="500"),
        lambda manifest, file: manifest.update(walk_length=13),
        lambda manifest, file: manifest.update(walk_length=13, num_transitions=500 * 13),
        lambda manifest, file: manifest.update(num_transitions=7_001),
        lambda manifest, file: manifest.pop("walk_length"),
        lambda manifest, file: manifest.pop("env"),
        lambda manifest, file: manifest["env"].update(vocab_size=7),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, edit):
    edit_manifest(folder, edit)
    with pytest.raises(ValueError, match="delete the folder"):
        load_dataset(folder, CUBE)


def replace_shard(folder: Path, content: bytes) -> None:
    """Puts in another file whose size and checksum the manifest confirms."""
    (folder / "walks-00000.npz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_manifest(folder, lambda manifest, file: file.update(num_bytes=len(content), sha256=digest))


def packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_pickled_objects_are_refused_and_never_run(folder, tmp_path):
    trace = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return Path.touch, (trace,)

    objects = np.array([Trap()], dtype=object)
    for content in (packed(states=objects, actions=objects, legal_actions=objects), pickle.dumps(Trap())):
        replace_shard(folder, content)
        with pytest.raises(ValueError, match="walks-00000.npz: .*plain arrays.*delete the folder"):
            load_dataset(folder, CUBE)
        assert not trace.exists()
    pickle.loads(pickle.dumps(Trap()))
    assert trace.exists()  # so the trap does spring


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"states": lambda array: array + np.uint8(1)}, "expected states in 0..5"),
        ({"actions": lambda array: array - np.int8(1)}, "expected actions in 0..5"),
        ({"states": lambda array: array.astype(np.int32)}, "states as uint8"),
        ({"actions": lambda array: array.astype(float)}, "actions as int8"),
        ({"legal_actions": lambda array: array.astype(np.uint8)}, "legal_actions as bool"),
        ({"states": lambda array: array[:, :-1]}, "of shape"),
        ({"actions": lambda array: array[:-1]}, "of shape"),
        ({"legal_actions": lambda array: array[..., :-1]}, "of shape"),
        ({"states": lambda array: array[..., 0]}, "of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, changes, reason):
    with np.load(folder / "walks-00000.npz", allow_pickle=False) as stored:
        arrays = {name: changes.get(name, np.asarray)(stored[name]) for name in stored}
    replace_shard(folder, packed(**arrays))
    with pytest.raises(ValueError, match=f"walks-00000.npz: .*{reason}.*delete the folder"):
        load_dataset(folder, CUBE)


def one_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", packed(states=np.zeros(3)), one_array()])
def test_files_of_another_kind_are_refused(folder, content):
    replace_shard(folder, content)
    with pytest.raises(ValueError, match="walks-00000.npz: .*plain arrays.*delete the folder"):
        load_dataset(folder, CUBE)


# --- Collecting into the usual folder.


def test_the_usual_folder(tmp_path):
    path = dataset_path(tmp_path, CUBE, BEHAVIOUR, 14_000, 0)
    assert path == tmp_path / "pocket_cube-nonbacktracking14-14000-seed0"
    path = dataset_path(tmp_path, TILES, RandomWalks(walk_length=60), 60_000, 3)
    assert path == tmp_path / "sliding_tiles_3x3-random60-60000-seed3"


def test_collect_works_once(tmp_path, cube_walks):
    folder = collect(CUBE, BEHAVIOUR, 7_000, 0, tmp_path)
    assert folder == dataset_path(tmp_path, CUBE, BEHAVIOUR, 7_000, 0)
    assert same(load_dataset(folder, CUBE), cube_walks)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert collect(CUBE, BEHAVIOUR, 7_000, 0, tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_two_that_collect_the_same_at_once_both_get_it(tmp_path, monkeypatch):
    """The second to finish finds the folder of the first in place, as jobs of one comparison do."""

    def while_another_collects(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr("jepa.dataset.collect_walks", collect_walks)
            collect(CUBE, BEHAVIOUR, 14, 0, tmp_path)
        return collect_walks(*arguments)

    monkeypatch.setattr("jepa.dataset.collect_walks", while_another_collects)
    folder = collect(CUBE, BEHAVIOUR, 14, 0, tmp_path)
    assert same(load_dataset(folder, CUBE), collect_walks(CUBE, BEHAVIOUR, 14, 0))
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda manifest, file: manifest.update(seed=1), "expected seed 0, came 1"),
        (lambda manifest, file: manifest["behaviour"].update({"class": "RandomWalks"}), "expected behaviour"),
        (lambda manifest, file: file.update(sha256=""), "expected sha256"),
    ],
)
def test_collect_refuses_a_folder_with_another_dataset(tmp_path, edit, reason):
    folder = collect(CUBE, BEHAVIOUR, 14, 0, tmp_path)
    edit_manifest(folder, edit)
    with pytest.raises(ValueError, match=f"{reason}.*delete the folder"):
        collect(CUBE, BEHAVIOUR, 14, 0, tmp_path)


class Stuck(SlidingTiles):
    """Every move is legal that was legal before, but does nothing."""

    def step(self, state, action):
        return state


class Wider(SlidingTiles):
    """Every move is legal, but does what it did before."""

    def legal_actions(self, state):
        return jnp.ones(4, bool)


@pytest.mark.parametrize("changed", [Stuck(), Wider()], ids=lambda env: type(env).__name__)
def test_collect_refuses_moves_that_were_recorded_before_the_rules_were_changed(tmp_path, changed):
    folder = collect(TILES, BEHAVIOUR, 14, 0, tmp_path)
    with pytest.raises(ValueError, match=r"break the rules of sliding_tiles_3x3.*delete the folder") as caught:
        collect(changed, BEHAVIOUR, 14, 0, tmp_path)
    assert str(folder) in str(caught.value)
