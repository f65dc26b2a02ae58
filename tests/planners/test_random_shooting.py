import jax
import numpy as np
import pytest

from jepa.planners.random_shooting import RandomShooting
from jepa.types import Plan
from tests.planners.graph_world import grid_world

NUM_SAMPLES, HORIZON = 64, 6
GRID = grid_world()
DISTANCES = GRID.distances()
STARTS, GOALS = np.random.default_rng(0).integers(GRID.num_nodes, size=(2, 200))
EXACT = DISTANCES[STARTS, GOALS]


@pytest.fixture(scope="module")
def shoot():
    planner, model = RandomShooting(num_samples=NUM_SAMPLES, horizon=HORIZON), GRID.model(DISTANCES)
    plan = jax.jit(lambda key: planner.plan(model, GRID.latents(STARTS), GRID.latents(GOALS), key))
    return lambda seed: jax.tree.map(np.asarray, plan(jax.random.key(seed)))


def lengths(plan: Plan) -> np.ndarray:
    return (plan.actions >= 0).sum(axis=1)


def test_every_imagined_move_is_charged_for(shoot):
    assert (shoot(0).num_nodes_generated == NUM_SAMPLES * HORIZON).all()


def test_arrivals_are_true_and_near_goals_are_always_reached_at_once(shoot):
    plan = shoot(0)
    ends = [GRID.replay(start, actions)[-1] for start, actions in zip(STARTS, plan.actions, strict=True)]
    assert (plan.claims_solved == (ends == GOALS)).all()
    assert 0.1 < plan.claims_solved.mean() < 0.9
    # One of at most four moves is missed by all samples with probability 0.75^64.
    near = EXACT <= 1
    assert near.any() and plan.claims_solved[near].all() and (lengths(plan) == EXACT)[near].all()


def test_a_plan_ends_where_its_cost_is_lowest(shoot):
    plan = shoot(0)
    last = plan.predicted_costs[np.arange(len(STARTS)), lengths(plan)]
    np.testing.assert_array_equal(last, np.nanmin(plan.predicted_costs, axis=1))
    assert (last < plan.predicted_costs[:, 0])[(EXACT > 0) & (EXACT < HORIZON)].all()


def test_other_keys_draw_other_sequences(shoot):
    assert (shoot(0).actions != shoot(1).actions).any(axis=1).mean() > 0.2
