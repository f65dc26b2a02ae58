"""Best-first search on a known maze: exact where its weights promise it, honest about its budget."""

import numpy as np
import pytest

from jepa.planners.beam_search import BeamSearch
from jepa.planners.best_first import BestFirstSearch
from tests.planners.graph_world import UNREACHABLE, tree_world
from tests.planners.test_beam_search import (
    CONSTANT,
    DISTANCES,
    EXACT,
    GOALS,
    LONGEST,
    REACHABLE,
    STARTS,
    assert_claims_are_true,
    lengths,
    search,
)

ONE_AT_A_TIME = BestFirstSearch(num_expansions=1, path_weight=1.0, num_nodes=200, horizon=LONGEST)


def test_an_exact_cost_leads_straight_to_every_goal():
    plan = search(ONE_AT_A_TIME, DISTANCES)
    assert (plan.claims_solved == REACHABLE).all()
    assert (lengths(plan) == EXACT)[REACHABLE].all()
    assert_claims_are_true(plan)
    # Ties between equally short ways cost expansions, wrong turns none: fewer nodes than the whole maze has.
    blind = search(ONE_AT_A_TIME, CONSTANT)
    far = REACHABLE & (EXACT > 4)
    assert (plan.num_nodes_generated <= blind.num_nodes_generated)[REACHABLE].all()
    assert plan.num_nodes_generated[far].mean() < 0.7 * blind.num_nodes_generated[far].mean()


def test_without_a_cost_it_is_dijkstras_search():
    plan = search(ONE_AT_A_TIME, np.zeros_like(DISTANCES))
    assert (plan.claims_solved == REACHABLE).all() and (lengths(plan) == EXACT)[REACHABLE].all()
    assert_claims_are_true(plan)


def test_an_admissible_cost_gives_shortest_plans():
    """Costs that never exceed the distance and obey the triangle inequality: A* is then optimal."""
    plan = search(ONE_AT_A_TIME, np.minimum(0.5 * DISTANCES, UNREACHABLE))
    assert (plan.claims_solved == REACHABLE).all() and (lengths(plan) == EXACT)[REACHABLE].all()


@pytest.mark.parametrize("num_expansions", [1, 4, 16])
def test_a_misleading_cost_only_delays_it(num_expansions):
    """A beam of one is lost where the cost leads into a dead end; here what was passed over still waits."""
    costs = np.random.default_rng(1).random(DISTANCES.shape).astype(np.float32)
    planner = BestFirstSearch(num_expansions=num_expansions, path_weight=0.0, num_nodes=400, horizon=36)
    plan = search(planner, costs)
    assert (plan.claims_solved == REACHABLE).all()
    assert search(BeamSearch(width=1, horizon=36), costs).claims_solved.mean() < 0.5
    assert_claims_are_true(plan)


def test_the_budget_ends_the_search_and_is_not_exceeded_by_more_than_one_round():
    costs = np.random.default_rng(1).random(DISTANCES.shape).astype(np.float32)
    planner = BestFirstSearch(num_expansions=2, path_weight=0.0, num_nodes=20, horizon=36)
    plan = search(planner, costs)
    assert (plan.num_nodes_generated <= 20 + 2 * 4 - 1).all()
    assert 0.1 < plan.claims_solved.mean() < 0.9
    gave_up = ~plan.claims_solved & (DISTANCES[STARTS, GOALS] < UNREACHABLE)
    assert (plan.num_nodes_generated[gave_up] >= 20).all()
    assert_claims_are_true(plan)


def test_predicted_costs_are_those_along_the_plan():
    plan = search(ONE_AT_A_TIME, DISTANCES)
    for index in np.flatnonzero(REACHABLE)[::41]:
        steps = int(EXACT[index])
        np.testing.assert_allclose(plan.predicted_costs[index, : steps + 1], np.arange(steps, -1, -1))
        assert np.isnan(plan.predicted_costs[index, steps + 1 :]).all()


def test_dead_ends_are_left_behind():
    """In a tree of one-way roads the search must come back from the leaves; a beam of one cannot."""
    tree = tree_world()
    goals = np.arange(tree.num_nodes // 2, tree.num_nodes)
    starts = np.zeros_like(goals)
    costs = np.random.default_rng(0).random((tree.num_nodes, tree.num_nodes)).astype(np.float32)
    planner = BestFirstSearch(num_expansions=1, path_weight=0.0, num_nodes=200, horizon=8)
    plan = search(planner, costs, tree, starts, goals)
    assert plan.claims_solved.all() and (lengths(plan) == 5).all()
    assert not search(BeamSearch(width=1, horizon=8), costs, tree, starts, goals).claims_solved.all()


def test_the_horizon_bounds_plans():
    plan = search(BestFirstSearch(num_expansions=4, path_weight=1.0, num_nodes=400, horizon=3), DISTANCES)
    assert (plan.claims_solved == (EXACT <= 3)).all() and plan.actions.shape[1] == 3


@pytest.mark.parametrize("field", ["num_nodes", "num_expansions", "horizon"])
def test_sizes_that_cannot_be_are_refused(field):
    with pytest.raises(ValueError, match=f"BestFirstSearch.{field} must be above 0; got 0"):
        BestFirstSearch(**{field: 0})
