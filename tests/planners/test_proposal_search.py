"""The search that an actor leads, on known graphs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.planners.proposal_search import ProposalSearch
from tests.planners.graph_world import GraphWorld, grid_world, tree_world

WORLD = grid_world()
DISTANCES = WORLD.distances()
PLAINLY = np.zeros_like(DISTANCES)  # every legal action is proposed alike
BATCH = 32


def plan(planner: ProposalSearch, world: GraphWorld, costs: np.ndarray, starts, goals):
    run = jax.jit(lambda start, goal: planner.plan(world.model(costs), start, goal, jax.random.key(0)))
    return jax.tree.map(np.asarray, run(world.latents(starts), world.latents(goals)))


@pytest.fixture(scope="module")
def reachable() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(3).integers(WORLD.num_nodes - 1, size=(2, BATCH))


@pytest.mark.parametrize("width", [1, 4])
def test_an_actor_that_knows_the_way_is_followed_along_shortest_paths(width, reachable):
    starts, goals = reachable
    result = plan(ProposalSearch(width=width), WORLD, DISTANCES, starts, goals)
    lengths = (result.actions >= 0).sum(axis=1)
    assert result.claims_solved.all()
    if width == 1:
        np.testing.assert_array_equal(lengths, DISTANCES[starts, goals])
        np.testing.assert_array_equal(result.num_nodes_generated, lengths)


def test_without_preferences_it_is_breadth_first_search_and_finds_shortest_plans(reachable):
    starts, goals = reachable
    planner = ProposalSearch(width=WORLD.num_nodes, oversampling=4.0)
    result = plan(planner, WORLD, PLAINLY, starts, goals)
    assert result.claims_solved.all()
    np.testing.assert_array_equal((result.actions >= 0).sum(axis=1), DISTANCES[starts, goals])


def test_no_more_is_predicted_than_was_asked_for(reachable):
    starts, goals = reachable
    result = plan(ProposalSearch(width=4, oversampling=1.5), WORLD, PLAINLY, starts, goals)
    plies = (result.actions >= 0).sum(axis=1) + 1  # and the one in which a beam dies
    assert (result.num_nodes_generated <= 6 * plies).all()
    assert ProposalSearch(width=4, oversampling=1.5).nodes_per_ply(4) == 6
    assert ProposalSearch(width=4, oversampling=9.0).nodes_per_ply(4) == 16


def test_oversampling_keeps_the_beam_full_where_ways_meet():
    """On a grid most successors are met twice, so a beam that predicts just its width shrinks."""
    starts, goals = np.array([0]), np.array([WORLD.num_nodes - 2])
    narrow = plan(ProposalSearch(width=6), WORLD, PLAINLY, starts, goals)
    wide = plan(ProposalSearch(width=6, oversampling=4.0), WORLD, PLAINLY, starts, goals)
    assert wide.num_nodes_generated[0] > narrow.num_nodes_generated[0]
    assert wide.claims_solved[0]


def test_the_cost_can_overrule_the_actor():
    """A walk in a tree, where the actor says left everywhere and the cost says where the goal is."""
    world = tree_world()
    distances = world.distances()
    goal = np.array([world.num_nodes - 1])
    model = world.model(distances)
    left = jnp.log(jnp.array([0.9, 0.1]))
    model = dataclasses.replace(
        model, propose=lambda latents, goals: jnp.broadcast_to(left, (*latents.shape[:2], 2)).astype(jnp.float32)
    )

    def claims(weight: float) -> bool:
        planner = ProposalSearch(width=1, oversampling=2.0, horizon=5, cost_weight=weight)
        return bool(planner.plan(model, world.latents([0]), world.latents(goal), jax.random.key(0)).claims_solved[0])

    assert claims(1.0) and not claims(0.0)


def test_a_model_without_actor_and_sizes_that_cannot_be_are_refused():
    model = dataclasses.replace(WORLD.model(DISTANCES), propose=None)
    with pytest.raises(ValueError, match="needs an actor"):
        ProposalSearch().plan(model, WORLD.latents([0]), WORLD.latents([1]), jax.random.key(0))
    with pytest.raises(ValueError, match=r"oversampling must be at least 1; got 0.5"):
        ProposalSearch(oversampling=0.5)
    with pytest.raises(ValueError, match="width"):
        ProposalSearch(width=0)
