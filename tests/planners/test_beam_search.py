import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.planners.greedy import Greedy
from jepa.types import Plan
from tests.planners.graph_world import UNREACHABLE, GraphWorld, grid_world, tree_world

GRID = grid_world()
DISTANCES = GRID.distances()
LONGEST = int(DISTANCES[DISTANCES < UNREACHABLE].max())
# A fifth of all pairs; as 5 and 36 have no common divisor, every node is a start and a goal.
STARTS, GOALS = np.divmod(np.arange(0, GRID.num_nodes**2, 5), GRID.num_nodes)
EXACT = DISTANCES[STARTS, GOALS]
REACHABLE = EXACT < UNREACHABLE
CONSTANT = np.full_like(DISTANCES, 5.0)


@functools.cache
def compiled(planner: Planner, world: GraphWorld) -> Callable[[np.ndarray, jax.Array, jax.Array], Plan]:
    return jax.jit(lambda costs, start, goal: planner.plan(world.model(costs), start, goal, jax.random.key(0)))


def search(planner: Planner, costs: np.ndarray, world: GraphWorld = GRID, starts=STARTS, goals=GOALS) -> Plan:
    plan = compiled(planner, world)(costs, world.latents(starts), world.latents(goals))
    return jax.tree.map(np.asarray, plan)


def lengths(plan: Plan) -> np.ndarray:
    return (plan.actions >= 0).sum(axis=1)


def assert_claims_are_true(plan: Plan, starts=STARTS, goals=GOALS) -> None:
    for start, goal, actions, claim in zip(starts, goals, plan.actions, plan.claims_solved, strict=True):
        assert (GRID.replay(start, actions)[-1] == goal) == claim


@pytest.fixture(scope="module")
def breadth_first() -> Plan:
    """All of them, without any lead by a cost, in a beam that holds every node."""
    return search(BeamSearch(width=64, horizon=LONGEST), CONSTANT)


def test_the_grid_is_a_maze():
    manhattan = np.abs(np.subtract(*np.divmod(np.stack([STARTS, GOALS]), 6))).sum(axis=0)
    assert LONGEST >= 10 and (EXACT[REACHABLE] > manhattan[REACHABLE]).any() and not REACHABLE.all()


@pytest.mark.parametrize("width", [1, 4])
def test_an_exact_cost_leads_straight_to_every_goal(width):
    plan = search(BeamSearch(width=width, horizon=LONGEST), DISTANCES)
    assert (plan.claims_solved == REACHABLE).all()
    assert (lengths(plan) == EXACT)[REACHABLE].all()
    assert_claims_are_true(plan)


def test_a_wide_beam_without_a_cost_is_breadth_first_search(breadth_first):
    """No duplicate is taken for new so often that a state is lost, and no state for a duplicate."""
    assert (breadth_first.claims_solved == REACHABLE).all()
    assert (lengths(breadth_first) == EXACT)[REACHABLE].all()
    assert_claims_are_true(breadth_first)


def test_nodes_of_a_breadth_first_search_by_brute_force(breadth_first):
    """All legal moves of all nodes nearer to the start than the goal is; of all nodes, where it is out of reach."""
    num_legal = (GRID.successors >= 0).sum(axis=1)
    for start, goal, count in zip(STARTS, GOALS, breadth_first.num_nodes_generated, strict=True):
        expanded = [
            node
            for node, distance in GRID.distances_from(start).items()
            if distance < min(DISTANCES[start, goal], LONGEST)
        ]
        assert count == num_legal[expanded].sum()


def test_goals_beyond_the_horizon_are_not_claimed():
    plan = search(BeamSearch(width=64, horizon=4), CONSTANT)
    assert (plan.claims_solved == (EXACT <= 4)).all()
    assert_claims_are_true(plan)


def textbook_beam_search(
    world: GraphWorld, costs: np.ndarray, start: int, goal: int, width: int, horizon: int
) -> tuple[list[int] | None, int]:
    """The plan, or None, and the number of nodes generated, in plain Python."""
    if start == goal:
        return [], 0
    frontier, num_nodes = [(start, [])], 0
    for _ in range(horizon):
        successors = [
            (int(following), [*path, action])
            for node, path in frontier
            for action, following in enumerate(world.successors[node])
            if following >= 0
        ]
        num_nodes += len(successors)
        for node, path in successors:
            if node == goal:
                return path, num_nodes
        frontier = sorted(successors, key=lambda item: costs[item[0], goal])[:width]
    return None, num_nodes


@pytest.mark.parametrize("width", [1, 3, 8])
def test_on_a_tree_it_is_the_textbook_beam_search_whatever_the_cost(width):
    world = tree_world()
    costs = np.random.default_rng(0).permutation(world.num_nodes**2).reshape(world.num_nodes, -1).astype(np.float32)
    goals = np.arange(world.num_nodes)
    plan = search(BeamSearch(width=width, horizon=5), costs, world, np.zeros_like(goals), goals)
    expected = [textbook_beam_search(world, costs, 0, goal, width, 5) for goal in goals]
    assert plan.num_nodes_generated.tolist() == [num_nodes for _, num_nodes in expected]
    assert plan.claims_solved.tolist() == [actions is not None for actions, _ in expected]
    assert 0.1 < plan.claims_solved.mean() < 0.9
    for actions, (expected_actions, _) in zip(plan.actions, expected, strict=True):
        assert expected_actions is None or actions[actions >= 0].tolist() == expected_actions


def test_wider_beams_solve_more():
    costs = np.random.default_rng(1).random(DISTANCES.shape).astype(np.float32)
    plans = [search(BeamSearch(width=width, horizon=LONGEST), costs) for width in (1, 4, 64)]
    solved = [plan.claims_solved.mean() for plan in plans]
    assert solved[0] < 0.5 < solved[1] < solved[2] == REACHABLE.mean()


def test_a_goal_is_taken_whatever_its_cost():
    """Nothing scores worse than the goal itself, and yet it is taken as soon as it is generated."""
    costs = np.where(np.eye(GRID.num_nodes, dtype=bool), 1e6, DISTANCES).astype(np.float32)
    plan = search(BeamSearch(width=4, horizon=LONGEST), costs)
    assert (plan.claims_solved == REACHABLE).all() and (lengths(plan) == EXACT)[REACHABLE].all()
    assert_claims_are_true(plan)


def test_drift_below_the_tolerance_does_not_hide_the_goal():
    noise = np.random.default_rng(0).normal(size=(len(GOALS), GRID.embeddings.shape[1])).astype(np.float32)
    plan = compiled(BeamSearch(width=4, horizon=LONGEST), GRID)
    for size, claims in ((0.2, REACHABLE), (1.0, np.zeros_like(REACHABLE))):
        goals = GRID.latents(GOALS) + jnp.asarray(size * noise)
        assert (plan(DISTANCES, GRID.latents(STARTS), goals).claims_solved == claims).all()


def test_a_batch_equals_singles():
    model, planner = GRID.model(DISTANCES), BeamSearch(width=4, horizon=LONGEST)

    @jax.jit
    def singles(starts, goals):
        def one(pair):
            return jax.tree.map(lambda leaf: leaf[0], planner.plan(model, pair[0], pair[1], jax.random.key(0)))

        return jax.lax.map(one, (starts[:, None], goals[:, None]))

    plans = singles(GRID.latents(STARTS[::29]), GRID.latents(GOALS[::29]))
    batch = jax.tree.map(lambda leaf: leaf[::29], search(planner, DISTANCES))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, plans), batch)


def test_greedy_is_the_beam_of_width_one():
    costs = (DISTANCES + np.random.default_rng(0).normal(size=DISTANCES.shape)).astype(np.float32)
    one, greedy = (search(planner, costs) for planner in (BeamSearch(width=1, horizon=12), Greedy(horizon=12)))
    jax.tree.map(np.testing.assert_array_equal, one, greedy)
    assert 0 < one.claims_solved.mean() < 1


def test_skipping_inverses_saves_nodes_and_changes_nothing_else():
    """On a grid what undoes an action is another one, wherever it is possible, and led to nodes met before."""
    plain, skipping = BeamSearch(width=4, horizon=LONGEST), BeamSearch(width=4, horizon=LONGEST, skip_inverses=True)
    plan, saving = search(plain, DISTANCES), search(skipping, DISTANCES)
    np.testing.assert_array_equal(plan.actions, saving.actions)
    np.testing.assert_array_equal(plan.claims_solved, saving.claims_solved)
    far = EXACT[REACHABLE] >= 5
    assert (saving.num_nodes_generated <= plan.num_nodes_generated).all()
    ratio = (saving.num_nodes_generated / np.maximum(plan.num_nodes_generated, 1))[REACHABLE][far]
    assert ratio.max() < 1 and ratio.mean() < 0.85


def test_on_one_way_roads_there_are_no_inverses_to_skip():
    world = tree_world()
    starts, goals = np.zeros(10, int), np.arange(20, 30)
    plain, skipping = (
        search(BeamSearch(width=3, horizon=6, skip_inverses=skip), world.distances(), world, starts, goals)
        for skip in (False, True)
    )
    jax.tree.map(np.testing.assert_array_equal, plain, skipping)
