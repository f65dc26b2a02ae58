"""Compiled programs on disk that are damaged, or not ours: a warning at most, and the same bits. (F22)

The folder is the user's own choice, as JAX_COMPILATION_CACHE_DIR.
"""

import random
from pathlib import Path

import pytest

from tests.faults.programs import Workplace, assert_same_bits

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def spoil(folder: Path) -> int:
    """Flips a byte of some programs, halves or empties others, puts something foreign in the place of the rest."""
    rng, paths = random.Random(0), sorted(folder.glob("*-cache"))
    for number, path in enumerate(paths):
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 255
        path.write_bytes((content, content[: len(content) // 2], b"", rng.randbytes(1000))[number % 4])
    return len(paths)


def with_cache(place: Workplace, cache: Path) -> dict[str, str]:
    return place.environment() | {"JAX_COMPILATION_CACHE_DIR": str(cache)}


def test_damaged_programs_are_compiled_anew(place, tmp_path):
    """In their own folder: its path is a part of what JAX finds a program by."""
    config, environment = place.cloning("cloning", num_updates=4), with_cache(place, tmp_path / "cache")
    for name in ("unbroken", "again"):
        ended = place.run("train.py", config, "--run-dir", tmp_path / name, env=environment)
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
        if name == "unbroken":
            assert "compilation cache" not in ended.stderr
            assert spoil(tmp_path / "cache") > 8
    assert ended.stderr.count("warning: Error reading persistent compilation cache entry") >= 5
    assert_same_bits(tmp_path / "again", tmp_path / "unbroken")


@pytest.mark.parametrize("where", ["file", "/proc/compiled"])
def test_a_folder_that_cannot_be_is_done_without(place, tmp_path, where):
    (tmp_path / "file").write_text("mine")
    config, environment = place.folder / place.cloning("cloning", num_updates=4), with_cache(place, tmp_path / where)
    ended = place.run("data/collect.py", config, cwd=tmp_path, env=environment)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert "warning: " in ended.stderr and "compilation cache" in ended.stderr
    assert (tmp_path / "file").read_text() == "mine"
