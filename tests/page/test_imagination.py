"""What a page shows of a model: plans of all lengths together are imagined as each would be by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.base import replay
from jepa.latents import worst_slot_difference
from jepa.page.imagination import imagine
from jepa.page.search_maps import _main_direction
from tests.page.test_page import ENV, FLAT, SLOTS

PLANS = [np.array(actions, np.int64) for actions in ([0, 3, 1, 2, 0], [], [2, 2])]


@pytest.mark.parametrize("agent", [SLOTS, FLAT], ids=["slots", "flat"])
def test_plans_of_all_lengths_are_imagined_as_each_by_itself(agent):
    model = agent.world_model.build(ENV, jax.random.key(0))
    starts = np.asarray(jax.vmap(ENV.sample_problem)(jax.random.split(jax.random.key(1), len(PLANS))).start)
    states = [np.stack(replay(ENV, start, plan.tolist())[0]) for start, plan in zip(starts, PLANS, strict=True)]
    found = imagine(ENV, model, states, PLANS)
    for (imagined, differences), real, plan in zip(found, states, PLANS, strict=True):
        assert imagined.shape == real.shape and differences.shape == (len(plan) + 1,)
        latents = [model.encode(jnp.asarray(real[:1]))]
        for action in plan:
            latents.append(model.predict(latents[-1], jnp.array([action])))
        expected = worst_slot_difference(
            jnp.concatenate(latents), model.encode(jnp.asarray(real)), model.encoder.num_slots
        )
        np.testing.assert_allclose(differences, expected, rtol=1e-4, atol=1e-5)
        if model.encoder.slot_codes() is not None:
            np.testing.assert_array_equal(imagined, model.read_tokens(jnp.concatenate(latents)))
        else:
            np.testing.assert_array_equal(imagined, nearest_within_two_moves(model, real, jnp.concatenate(latents)))


def nearest_within_two_moves(model, real: np.ndarray, latents: jax.Array) -> np.ndarray:
    near, step = {tuple(state) for state in real.tolist()}, jax.jit(ENV.step)
    for _ in range(2):
        near |= {tuple(step(jnp.array(state), action).tolist()) for state in near for action in range(4)}
    near = np.array(sorted(near))
    squared = ((np.asarray(model.encode(jnp.asarray(near)))[None] - np.asarray(latents)[:, None]) ** 2).mean(axis=-1)
    return near[squared.argmin(axis=1)]


@pytest.mark.parametrize("shape", [(30, 5), (4, 12)], ids=["more points", "more numbers"])
def test_the_main_direction_is_that_of_the_singular_vectors(shape):
    points = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    points -= points.mean(axis=0)
    _, scales, directions = np.linalg.svd(points, full_matrices=False)
    found, share = _main_direction(points)
    assert abs(abs(found @ directions[0]) - 1) < 1e-6
    assert share == pytest.approx(scales[0] ** 2 / (scales**2).sum())


def test_where_nothing_differs_there_is_no_main_direction():
    direction, share = _main_direction(np.zeros((3, 5)))
    assert np.isfinite(direction).all() and share == 0.0
