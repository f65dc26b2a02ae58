"""The cross-entropy method on known graphs."""

import jax
import numpy as np
import pytest

from jepa.planners.cross_entropy import CrossEntropySearch
from jepa.planners.random_shooting import RandomShooting
from tests.planners.graph_world import grid_world, tree_world

WORLD = grid_world()
DISTANCES = WORLD.distances()


def solved(planner, starts, goals) -> np.ndarray:
    run = jax.jit(lambda start, goal: planner.plan(WORLD.model(DISTANCES), start, goal, jax.random.key(0)))
    return np.asarray(run(WORLD.latents(starts), WORLD.latents(goals)).claims_solved)


def test_iterations_find_what_as_many_random_plans_do_not():
    rng = np.random.default_rng(0)
    starts, goals = rng.integers(WORLD.num_nodes - 1, size=(2, 64))
    far = DISTANCES[starts, goals] >= 7
    starts, goals = starts[far], goals[far]
    moved = solved(CrossEntropySearch(num_samples=16, num_iterations=6, elite_fraction=0.2, horizon=11), starts, goals)
    at_random = solved(RandomShooting(num_samples=96, horizon=11), starts, goals)
    assert len(starts) > 10 and moved.mean() > at_random.mean() + 0.1


def test_a_dead_end_is_no_plan_beyond_it():
    world = tree_world(depth=2)
    planner = CrossEntropySearch(horizon=6, num_samples=16)
    plan = planner.plan(world.model(world.distances()), world.latents([0]), world.latents([6]), jax.random.key(0))
    nodes = world.replay(0, np.asarray(plan.actions[0]))
    assert nodes == [0, 2, 6] and bool(plan.claims_solved[0])


def test_every_prediction_is_charged():
    planner = CrossEntropySearch(num_samples=4, num_iterations=3, horizon=5)
    plan = planner.plan(WORLD.model(DISTANCES), WORLD.latents([0]), WORLD.latents([9]), jax.random.key(0))
    assert plan.num_nodes_generated.tolist() == [60]


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="elite_fraction up to 1"):
        CrossEntropySearch(elite_fraction=2.0)
    with pytest.raises(ValueError, match="num_iterations"):
        CrossEntropySearch(num_iterations=0)
