"""Damaged checkpoints of a real run: noticed, named, passed over, and the run still ends in the same bits. (F12, F13)

What single damages do to a single checkpoint of a made-up state is in `tests/test_checkpoint.py`.
"""

import gc
import random
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from jepa.checkpoint import Checkpoints
from jepa.run_config import read_config
from jepa.runs import untrained_states
from tests.faults.programs import OFTEN, assert_same_bits, digests, is_clear_refusal

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NUM_UPDATES = 20
NUM_FLIPS = 50


@pytest.fixture(autouse=True)
def collect_what_orbax_leaves_behind():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def abstract(unbroken):
    return untrained_states(read_config(unbroken))


@pytest.fixture(scope="module")
def saved(unbroken, abstract, tmp_path_factory) -> dict[int, list[bytes]]:
    """The bits of all checkpoints of the run, by their steps: the newest, and the one before."""
    found = {}
    for step in Checkpoints(unbroken / "checkpoints").steps:
        alone = tmp_path_factory.mktemp("alone")
        shutil.copytree(unbroken / "checkpoints" / f"{step:08d}", alone / f"{step:08d}")
        found[step] = bits(Checkpoints(alone).restore(abstract).state)
    assert list(found) == [38, 40]
    return found


def bits(state) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def is_harmless(folder: Path, abstract, saved: dict[int, list[bytes]]) -> bool:
    """Reads damaged checkpoints: either nothing was lost, or the older one came and a warning named the newest."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Checkpoints(folder).restore(abstract)
    assert bits(found.state) == saved[found.step]
    messages = [str(warning.message) for warning in caught if "damaged" in str(warning.message)]
    if found.step == 40:
        assert messages == []
        return True
    (message,) = messages
    assert message.startswith(f"checkpoint 40 in {folder} is damaged: ")
    assert message.endswith("Falling back to checkpoint 38.")
    assert any(word in message for word in ("leaf", "leaves", "manifest"))
    return False


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)


def newest_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "00000040").rglob("*") if path.is_file() and path.stat().st_size)


def test_no_flipped_bit_is_silent(unbroken, abstract, saved, tmp_path, figure):
    """Half of the bits lie where arrays do, the others in any file."""
    rng, num_harmless = random.Random(0), 0
    for trial in range(NUM_FLIPS):
        folder = tmp_path / str(trial)
        shutil.copytree(unbroken / "checkpoints", folder)
        files = newest_files(folder)
        flip(rng.choice([file for file in files if "d" in file.parts] if trial % 2 else files), rng)
        num_harmless += is_harmless(folder, abstract, saved)
        shutil.rmtree(folder)
    assert 0 < num_harmless < NUM_FLIPS  # Some files hold nothing that matters.
    figure("flipped_bits_tried", NUM_FLIPS)
    figure("flipped_bits_caught", NUM_FLIPS - num_harmless)
    figure("flipped_bits_harmless", num_harmless)
    figure("flipped_bits_silent", 0)


@pytest.mark.parametrize("damage", ["halved", "emptied", "deleted", "grown"])
def test_no_damaged_file_is_silent(unbroken, abstract, saved, tmp_path, figure, damage):
    files = [path.relative_to(unbroken / "checkpoints") for path in newest_files(unbroken / "checkpoints")]
    num_harmless = 0
    for trial, name in enumerate(files):
        folder = tmp_path / str(trial)
        shutil.copytree(unbroken / "checkpoints", folder)
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if damage != "deleted":
            changed = {"halved": content[: len(content) // 2], "emptied": b"", "grown": content + content}
            (folder / name).write_bytes(changed[damage])
        num_harmless += is_harmless(folder, abstract, saved)
        shutil.rmtree(folder)
    figure("damaged_files_tried", len(files))
    figure("damaged_files_caught", len(files) - num_harmless)
    figure("damaged_files_harmless", num_harmless)


@pytest.mark.parametrize("name", ["state/d", "manifest/metadata"])
def test_a_run_goes_on_from_the_older_checkpoint(place, config, unbroken, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    damaged = folder / "checkpoints" / "00000040" / name
    if damaged.is_dir():
        for path in damaged.iterdir():
            path.write_bytes(b"")
    else:
        damaged.write_text("{")
    refused = place.run("eval.py", folder)
    assert is_clear_refusal(refused) and "is trained only to 38 of 40 updates" in refused.stderr
    ended = place.run("train.py", config, "--run-dir", folder, *OFTEN)
    assert ended.returncode == 0
    assert f"warning: checkpoint 40 in {folder / 'checkpoints'} is damaged" in ended.stderr
    assert "Resuming after 38 of 40 updates" in ended.stderr and "Traceback" not in ended.stderr
    assert_same_bits(folder, unbroken)


def test_nothing_is_overwritten_where_no_checkpoint_is_good(place, config, unbroken, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    for path in (folder / "checkpoints").rglob("d/*"):
        path.write_bytes(path.read_bytes()[::-1])
    before = digests(folder)
    for words in (("train.py", config, "--run-dir", folder), ("eval.py", folder)):
        ended = place.run(*words)
        assert is_clear_refusal(ended), ended.stderr
        assert f"expected a good checkpoint in {folder / 'checkpoints'}" in ended.stderr
        assert "move the folder away and train from the start" in ended.stderr
    assert digests(folder) == before
