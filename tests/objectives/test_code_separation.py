"""Code separation against a loop over pairs, and what it does to merged codes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.latents import normalize_slots
from jepa.objectives.code_separation import CodeSeparation, closest_codes


def random_codes(num_codes: int = 5, width: int = 6, seed: int = 0) -> jax.Array:
    values = np.random.default_rng(seed).normal(size=(num_codes, width))
    return normalize_slots(jnp.asarray(values, jnp.float32), 1)


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_it_is_a_hinge_on_every_pair(margin):
    codes = random_codes()
    differences = [((a - b) ** 2).mean() for a, b in itertools.combinations(np.asarray(codes), 2)]
    expected = 2.0 * sum(max(0.0, 1 - difference / margin) ** 2 for difference in differences)
    np.testing.assert_allclose(CodeSeparation(weight=2.0, margin=margin).loss(codes), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(closest_codes(codes), min(differences), rtol=1e-4)


def test_nearly_merged_codes_come_apart_beyond_the_margin():
    codes = random_codes()
    parameters = codes.at[1].set(codes[0] + 0.01 * codes[2])
    separation = CodeSeparation()

    @jax.jit
    def descend(parameters):
        return parameters - jax.grad(lambda p: separation.loss(normalize_slots(p, 1)))(parameters)

    for _ in range(300):
        parameters = descend(parameters)
    assert closest_codes(normalize_slots(parameters, 1)) > 0.95
    assert separation.loss(normalize_slots(parameters, 1)) < 0.01


def test_codes_that_are_apart_cost_nothing():
    codes = normalize_slots(jnp.eye(4), 1)
    assert closest_codes(codes) > 1 and CodeSeparation().loss(codes) == 0


def test_opposite_codes_are_apart_but_not_orthogonal():
    """Two codes and their opposites span two directions; made orthogonal they span four."""
    pair = random_codes(num_codes=2, width=8)
    parameters = jnp.concatenate([pair, 0.1 * random_codes(num_codes=2, width=8, seed=1) - pair])
    separation = CodeSeparation(orthogonality=1.0)
    opposite = normalize_slots(jnp.concatenate([pair, -pair]), 1)
    cosines = np.corrcoef(np.asarray(opposite))
    expected = sum(cosines[a, b] ** 2 for a, b in itertools.combinations(range(4), 2))
    np.testing.assert_allclose(separation.loss(opposite) - CodeSeparation().loss(opposite), expected, rtol=1e-3)

    @jax.jit
    def descend(parameters):
        return parameters - 0.3 * jax.grad(lambda p: separation.loss(normalize_slots(p, 1)))(parameters)

    for _ in range(500):
        parameters = descend(parameters)
    scales = np.linalg.svd(np.asarray(normalize_slots(parameters, 1)), compute_uv=False)
    assert scales.min() / scales.max() > 0.9
