import itertools
import math

import numpy as np
import pytest

from jepa.envs.distance_table import (
    breadth_first_distances,
    cache_folder,
    cached_distances,
    rank_permutations,
    unrank_permutations,
)

TABLE = np.array([0, 1, 2, -1, 300], np.int16)


@pytest.mark.parametrize("num_items", [1, 2, 5])
def test_permutations_are_numbered_in_lexicographic_order(num_items):
    permutations = np.array(list(itertools.permutations(range(num_items))))
    ranks = np.arange(math.factorial(num_items))
    assert (rank_permutations(permutations) == ranks).all()
    assert (unrank_permutations(ranks, num_items) == permutations).all()


def test_breadth_first_search_on_a_ring_and_an_island():
    def neighbours(states):
        ring = states[states < 10]
        yield (ring + 1) % 10
        yield (ring - 1) % 10

    distances = breadth_first_distances(num_states=12, goal=3, neighbours=neighbours)
    assert distances.tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 5, 4, -1, -1]


@pytest.fixture
def builds(tmp_path, monkeypatch):
    """The builds that happened, with the cache in a fresh folder."""
    monkeypatch.setenv("JEPA_CACHE_DIR", str(tmp_path / "deep" / "cache"))
    return []


def load(builds, name="five", num_states=5):
    def build():
        builds.append(name)
        return TABLE

    return cached_distances(name=name, num_states=num_states, build=build)


def test_a_table_is_built_once(builds):
    assert load(builds).tolist() == TABLE.tolist()
    assert load(builds).tolist() == TABLE.tolist()
    assert builds == ["five"]
    assert [path.name for path in cache_folder().iterdir()] == ["five.distances"]


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_damaged_table_is_built_again(builds, position):
    load(builds)
    path = cache_folder() / "five.distances"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert load(builds).tolist() == TABLE.tolist()
    assert len(builds) == 2
    load(builds)
    assert len(builds) == 2


@pytest.mark.parametrize("num_bytes", [0, 10, 33])
def test_a_truncated_table_is_built_again(builds, num_bytes):
    load(builds)
    path = cache_folder() / "five.distances"
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert load(builds).tolist() == TABLE.tolist()


def test_a_table_under_another_name_is_not_taken(builds):
    load(builds)
    (cache_folder() / "five.distances").rename(cache_folder() / "six.distances")
    load(builds, name="six")
    assert builds == ["five", "six"]


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JEPA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="JEPA_CACHE_DIR"):
        load([])


def test_the_cache_is_in_the_home_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("JEPA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jepa"
