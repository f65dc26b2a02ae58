"""GCIQL: its values are the fixed point that the method defines, and its policy walks shortest paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.gciql import GCIQL, expectile_loss
from jepa.agents.offline import GoalSampling
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit, grid_pairs, schedule

GRID = Grid()


def expectile_of(values: np.ndarray, is_in: np.ndarray, expectile: float) -> np.ndarray:
    """Lower expectiles over the last axis, by bisection of their defining equation."""
    low, high = np.zeros(values.shape[:-1]), np.full(values.shape[:-1], 1e3)
    for _ in range(60):
        middle = (low + high) / 2
        difference = middle[..., None] - values
        pull = (np.where(difference > 0, expectile, 1 - expectile) * difference * is_in).sum(axis=-1)
        low, high = np.where(pull < 0, middle, low), np.where(pull < 0, high, middle)
    return low


def exact_values(discount: float, expectile: float) -> np.ndarray:
    """Fixed point on the grid for moves drawn uniformly from the legal ones; [states, goals]."""
    states = jnp.arange(SIZE * SIZE)[:, None]
    legal = np.asarray(jax.vmap(GRID.legal_actions)(states))
    after = np.asarray(jax.vmap(lambda state: jax.vmap(GRID.step, (None, 0))(state, jnp.arange(4)))(states))[..., 0]
    reached = after[:, None, :] == np.arange(SIZE * SIZE)[:, None]
    values = np.zeros((SIZE * SIZE, SIZE * SIZE))
    for _ in range(200):
        costs = np.where(reached, 1.0, 1 + discount * values[after].swapaxes(1, 2))
        values = expectile_of(costs, np.broadcast_to(legal[:, None], costs.shape), expectile)
    return values


def test_the_expectile_is_the_mean_or_nearly_the_least():
    values, everything = np.array([1.0, 2.0, 6.0]), np.ones(3)
    assert expectile_of(values, everything, 0.5) == pytest.approx(3.0)
    assert expectile_of(values, everything, 0.999) == pytest.approx(1.0, abs=0.01)
    for expectile in (0.5, 0.9):
        middle = expectile_of(values, everything, expectile)
        slope = jax.grad(lambda v, tau=expectile: expectile_loss(v - values, tau).sum())(float(middle))
        assert abs(slope) < 1e-3


@pytest.mark.slow
def test_its_values_are_those_that_the_method_defines_and_its_policy_is_optimal():
    walks = collect_walks(GRID, RandomWalks(walk_length=20), 4_000, 0)
    agent = GCIQL(
        network=ResidualMLPActor(hidden_width=64),
        # Goals of other walks say nothing about the move, which is then drawn uniformly for every goal.
        goals=GoalSampling(next_fraction=0.0, future_fraction=0.0),
        discount=0.9,
        target_rate=0.2,
        training=schedule(600, learning_rate=1e-2),
    )
    params, _ = fit(agent, GRID, walks)
    guide, (codes, goals) = agent.guide(GRID, params), grid_pairs(GRID)
    learned = 0.9 ** np.asarray(jax.jit(guide.cost)(codes, goals)).T
    exact = 1 - 0.1 * exact_values(0.9, 0.9)  # 0.07 away from those of an expectile of 0.8
    apart = ~np.eye(SIZE * SIZE, dtype=bool)
    assert np.abs(learned - exact)[apart].mean() < 0.05
    states = jnp.arange(SIZE * SIZE)[:, None]
    legal = jax.vmap(GRID.legal_actions)(states)
    proposed = jax.jit(guide.propose)(codes, goals, jnp.broadcast_to(legal, (SIZE * SIZE, *legal.shape)))
    after = np.asarray(jax.vmap(jax.vmap(GRID.step), (None, 0))(states, proposed.argmax(axis=-1)))[..., 0].T
    nearer = distances()[after, np.arange(SIZE * SIZE)] < distances()
    assert nearer[apart].mean() > 0.98


@pytest.mark.parametrize(("field", "value"), [("expectile", 0.4), ("expectile", 1.0), ("discount", 1.0)])
def test_numbers_that_cannot_be_are_refused(field, value):
    with pytest.raises(ValueError, match=f"GCIQL.{field} must"):
        GCIQL(**{field: value})
