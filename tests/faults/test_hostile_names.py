"""Names that lead elsewhere, in archives and on command lines: nothing is read or written there. (F21)

Pickled objects, wrong shapes and wrong numbers are in `tests/test_dataset.py` and `tests/test_evaluation.py`.
"""

import io
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jepa.array_files import arrays_from_npz
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, load_problems
from jepa.pretrained import load_pretrained

pytestmark = pytest.mark.faults

NAMES = ("../evil", "../../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:\\evil", "x" * 5000)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(members: dict[str, bytes], links: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, target)
    return buffer.getvalue()


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def secret(tmp_path, monkeypatch) -> Path:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    np.save(tmp_path / "evil.npy", np.arange(6))
    return tmp_path / "evil.npy"


@pytest.mark.parametrize("name", NAMES)
def test_a_member_of_an_archive_is_never_a_path(secret, name):
    """Members are read in memory, whatever they are called."""
    start = np.array([[1, 2, 3, 4, 5, 0]])
    Path("problems.npz").write_bytes(archive({"start.npy": npy(start), f"{name}.npy": npy(np.zeros(1))}, {}))
    before = everything(secret.parent)
    try:
        load_problems(SlidingTiles(rows=2, columns=3), Evaluation(problems=Path("problems.npz"), num_problems=1))
    except ValueError as error:
        assert "problems.npz" in str(error)
    assert everything(secret.parent) == before


@pytest.mark.parametrize("target", ["../evil.npy", "/etc/passwd"])
def test_a_link_in_an_archive_is_not_followed(secret, target):
    content = archive({}, {"start.npy": target})
    assert not any(isinstance(array, np.ndarray) and array.size == 6 for array in _arrays(content).values())


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    try:
        return arrays_from_npz(content)
    except ValueError:
        return {}


@pytest.mark.parametrize("name", ["../pocket_cube", "/etc", "pocket_cube/../pocket_cube", "", ".", "..", "\0"])
def test_a_trained_agent_has_the_name_of_one(name):
    with pytest.raises(ValueError, match="expected a trained agent, of which there are"):
        load_pretrained(name)
