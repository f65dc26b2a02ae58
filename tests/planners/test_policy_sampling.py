"""Sampled plans on a known graph, and searches of other sizes."""

import dataclasses

import jax
import numpy as np
import pytest

from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.planners.best_first import BestFirstSearch
from jepa.planners.greedy import Greedy
from jepa.planners.policy_sampling import PolicySampling
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch
from tests.planners.graph_world import grid_world

WORLD = grid_world()
DISTANCES = WORLD.distances()
STARTS, GOALS = np.random.default_rng(1).integers(WORLD.num_nodes - 1, size=(2, 64))
EXACT = DISTANCES[STARTS, GOALS]


def sampled(planner: Planner, *, has_actor: bool = False, costs: np.ndarray = DISTANCES):
    model = dataclasses.replace(WORLD.model(costs), **({} if has_actor else {"propose": None}))
    run = jax.jit(lambda start, goal: planner.plan(model, start, goal, jax.random.key(0)))
    return jax.tree.map(np.asarray, run(WORLD.latents(STARTS), WORLD.latents(GOALS)))


@pytest.mark.parametrize("has_actor", [False, True])
def test_without_chance_it_walks_where_cost_or_actor_say(has_actor):
    plan = sampled(PolicySampling(num_samples=1, temperature=1e-3), has_actor=has_actor)
    assert plan.claims_solved.all()
    lengths = (plan.actions >= 0).sum(axis=1)
    np.testing.assert_array_equal(lengths, EXACT)
    num_actions = WORLD.successors.shape[1]
    np.testing.assert_array_equal(plan.num_nodes_generated, lengths * (1 if has_actor else num_actions))


def test_chance_costs_plans_and_more_samples_win_them_back():
    shares = [
        sampled(PolicySampling(num_samples=count, temperature=temperature, horizon=8)).claims_solved.mean()
        for count, temperature in ((1, 0.3), (1, 3.0), (32, 3.0))
    ]
    assert shares[0] > shares[1] + 0.2 and shares[2] > shares[1] + 0.2


def test_the_shortest_claim_is_chosen():
    one, many = (sampled(PolicySampling(num_samples=count, temperature=2.0, horizon=30)) for count in (1, 64))
    both = one.claims_solved & many.claims_solved
    lengths = [(plan.actions >= 0).sum(axis=1)[both].mean() for plan in (one, many)]
    assert both.mean() > 0.5 and lengths[1] < lengths[0]


def test_at_high_temperature_it_is_random_shooting():
    hot = sampled(PolicySampling(num_samples=64, temperature=1e9, horizon=6))
    plain = sampled(RandomShooting(num_samples=64, horizon=6))
    np.testing.assert_array_equal(hot.actions, plain.actions)
    assert (hot.num_nodes_generated <= 4 * plain.num_nodes_generated).all()


@pytest.mark.parametrize(
    ("planner", "factor", "field", "expected"),
    [
        (BeamSearch(width=64), 0.25, "width", 16),
        (BeamSearch(width=64), 0.001, "width", 1),
        (BestFirstSearch(num_nodes=100), 4, "num_nodes", 400),
        (GumbelTreeSearch(num_simulations=32), 0.5, "num_simulations", 16),
        (RandomShooting(num_samples=10), 0.25, "num_samples", 2),
    ],
)
def test_scaled_changes_the_size_alone(planner, factor, field, expected):
    scaled = planner.scaled(factor)
    assert getattr(scaled, field) == expected
    assert dataclasses.replace(scaled, **{field: getattr(planner, field)}) == planner


def test_what_has_no_size_cannot_be_scaled():
    with pytest.raises(ValueError, match="Greedy has no size"):
        Greedy().scaled(2.0)
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="numbers above 0"):
            BeamSearch().scaled(factor)
    for wrong in ({"temperature": 0.0}, {"temperature": -1.0}, {"num_samples": 0}):
        with pytest.raises(ValueError, match=f"PolicySampling.{next(iter(wrong))} must be above 0"):
            PolicySampling(**wrong)
