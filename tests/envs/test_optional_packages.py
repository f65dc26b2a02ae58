"""Packages that only some domains need."""

import sys

import pytest

from jepa.envs.gymnasium_adapter import GymnasiumTable
from jepa.envs.jumanji_maze import JumanjiMaze
from jepa.envs.jumanji_rubiks_cube import JumanjiRubiksCube
from jepa.envs.jumanji_sliding_tiles import JumanjiSlidingTiles
from jepa.envs.optional_packages import import_extra


def test_extra_that_is_there_is_imported():
    assert import_extra("json") is sys.modules["json"]


# Sizes that no other test builds, because what has been built once needs no import.
@pytest.mark.parametrize(
    ("package", "build"),
    [
        ("gymnasium", lambda: GymnasiumTable(arguments='{"is_rainy": false}')),
        ("jumanji", lambda: JumanjiSlidingTiles(num_random_moves=3)),
        ("jumanji", lambda: JumanjiMaze(rows=5, columns=6)),
        ("jumanji", lambda: JumanjiRubiksCube(num_scrambles=3)),
    ],
)
def test_missing_extra_is_refused_with_the_way_to_install_it(package, build, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'needs the package {package} .*pip install -e "\.\[{package}\]"') as caught:
        build()
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
