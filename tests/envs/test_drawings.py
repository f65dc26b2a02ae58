"""Pictures of states: every domain has them, and those of cubes put the right stickers side by side."""

import itertools
import re

import jax
import numpy as np
import pytest

import jepa.envs
from jepa.drawing import COLOURS, Shape, circle, rectangle, text_drawing
from jepa.envs.base import Env
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.rubiks_cube import RubiksCube
from jepa.envs.sliding_tiles import SlidingTiles
from tests.discovery import discover, skip_without_extra

OPPOSITES = [{"white", "yellow"}, {"red", "orange"}, {"green", "blue"}]


@pytest.mark.parametrize("cls", discover(Env, jepa.envs), ids=lambda cls: cls.__name__)
def test_any_tokens_can_be_drawn(cls):
    """Also those of a state that cannot be, as a model may imagine it."""
    with skip_without_extra():
        env = cls()
        problem = jax.tree.map(np.asarray, jax.jit(env.sample_problem)(jax.random.key(0)))
    state = np.asarray(problem.start)
    for tokens in (state, state[::-1] if cls in (PocketCube, RubiksCube, SlidingTiles) else state):
        drawing = env.draw(tokens, problem.goal)
        assert drawing.shapes
        for shape in drawing.shapes:
            assert shape.fill in COLOURS
            assert -0.1 <= shape.x <= drawing.width + 0.1
            assert -0.1 <= shape.y <= drawing.height + 0.1
        keys = [shape.key for shape in drawing.shapes if shape.key]
        assert len(keys) == len(set(keys))


def test_tiles_keep_their_keys_when_they_move():
    env = SlidingTiles(rows=2, columns=2)
    problem = jax.tree.map(np.asarray, env.sample_problem(jax.random.key(0)))
    before = {shape.key: (shape.x, shape.y) for shape in env.draw(np.array([1, 2, 3, 0]), problem.goal).shapes}
    after = {shape.key: (shape.x, shape.y) for shape in env.draw(np.array([1, 2, 0, 3]), problem.goal).shapes}
    assert before.keys() == after.keys() == {"tile1", "tile2", "tile3"}
    assert {key for key in before if before[key] != after[key]} == {"tile3"}


@pytest.mark.parametrize("env", [PocketCube(), RubiksCube()], ids=lambda env: env.name)
def test_stickers_that_meet_at_an_edge_belong_to_one_cubie(env):
    """No cubie has opposite colours, so a face that were turned or mirrored in the picture would show."""
    draws = jax.vmap(env.sample_problem)(jax.random.split(jax.random.key(1), 40))
    touching = 0
    for start in np.asarray(draws.start):
        stickers = [shape for shape in env.draw(start, draws.goal).shapes if shape.outline and shape.fill != "ink"]
        corners = [absolute_points(sticker) for sticker in stickers]
        for (one, a), (other, b) in itertools.combinations(zip(stickers, corners, strict=True), 2):
            if one.outline != other.outline and share_an_edge(a, b):
                touching += 1
                assert {one.fill, other.fill} not in OPPOSITES
                assert one.fill != other.fill
    size = 2 if env.num_tokens == 24 else 3
    assert touching == 40 * 2 * 3 * size  # three edges on each of two pictures


def absolute_points(shape: Shape) -> np.ndarray:
    points = re.findall(r"(-?[\d.]+(?:e-?\d+)?) (-?[\d.]+(?:e-?\d+)?)", shape.outline)
    return np.array([(shape.x + float(x), shape.y + float(y)) for x, y in points])


def share_an_edge(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two corners of one sticker each lie next to a corner of the other, but for the gap between them."""
    distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
    return (distances.min(axis=1) < 0.2).sum() == 2


def test_bad_colours_are_refused():
    with pytest.raises(ValueError, match="a fill must be one of .* got 'mauve'"):
        Shape(outline=circle(1.0), x=0.0, y=0.0, fill="mauve")


def test_text_is_a_shape_per_line():
    drawing = text_drawing("ab\nc")
    assert [shape.label for shape in drawing.shapes] == ["ab", "c "]
    assert rectangle(1.0, 2.0) == "M-0.5 -1H0.5V1H-0.5Z"
