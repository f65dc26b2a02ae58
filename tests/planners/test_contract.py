"""What every planner must do: all are found by discovery, built with their defaults, and sent through a known graph."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import jepa.planners
from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.planners.best_first import BestFirstSearch
from jepa.types import Plan
from tests.discovery import discover
from tests.planners.graph_world import UNREACHABLE, grid_world

ROOT = pathlib.Path(__file__).parents[2]
PLANNERS = [found() for found in discover(Planner, jepa.planners)]
PLANNERS += [BeamSearch(shorten_plans=True), BeamSearch(skip_inverses=True), BestFirstSearch(shorten_plans=True)]
WORLD = grid_world()
DISTANCES = WORLD.distances()
WALLED_IN = WORLD.num_nodes - 1
BATCH_SIZE = 16


def pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and goals: one pair the same node, one out of reach, some neighbours, the others anywhere."""
    rng = np.random.default_rng(seed)
    starts, goals = rng.integers(WALLED_IN, size=(2, BATCH_SIZE))
    goals[0], goals[1] = starts[0], WALLED_IN
    for index in (2, 3, 4):
        starts[index], goals[index] = rng.permutation(np.argwhere(DISTANCES == 1))[0]
    return starts, goals


class CompiledPlanner:
    """A planner on the graph, compiled."""

    def __init__(self, planner: Planner):
        self.planner = planner
        self.num_traces = 0

        def plan(start: jax.Array, goal: jax.Array, key: jax.Array) -> Plan:
            self.num_traces += 1
            return planner.plan(WORLD.model(DISTANCES), start, goal, key)

        self._plan = jax.jit(plan)

    def __call__(self, starts: np.ndarray, goals: np.ndarray, seed: int = 0) -> Plan:
        plan = self._plan(WORLD.latents(starts), WORLD.latents(goals), jax.random.key(seed))
        return jax.tree.map(np.asarray, plan)


@pytest.fixture(scope="module", params=PLANNERS, ids=lambda planner: type(planner).__name__)
def compiled(request) -> CompiledPlanner:
    return CompiledPlanner(request.param)


@pytest.fixture(scope="module", params=[0, 1])
def planned(request, compiled) -> tuple[np.ndarray, np.ndarray, Plan]:
    starts, goals = pairs(request.param)
    return starts, goals, compiled(starts, goals)


def lengths(plan: Plan) -> np.ndarray:
    return (plan.actions >= 0).sum(axis=1)


def test_the_shipped_planners_are_found():
    assert {"BeamSearch", "Greedy", "RandomShooting"} <= {type(planner).__name__ for planner in PLANNERS}


def test_layout_of_a_plan(compiled, planned):
    _, _, plan = planned
    horizon = compiled.planner.horizon
    assert plan.actions.shape == (BATCH_SIZE, horizon) and plan.predicted_costs.shape == (BATCH_SIZE, horizon + 1)
    assert plan.claims_solved.dtype == bool and np.issubdtype(plan.num_nodes_generated.dtype, np.integer)
    assert plan.actions.min() >= -1 and plan.actions.max() < WORLD.successors.shape[1]
    behind_the_end = np.arange(horizon) >= lengths(plan)[:, None]
    assert ((plan.actions == -1) == behind_the_end).all()
    assert (np.isnan(plan.predicted_costs[:, 1:]) == behind_the_end).all()


def test_plans_are_legal_and_predicted_costs_are_those_of_the_replayed_latents(planned):
    starts, goals, plan = planned
    for index in range(BATCH_SIZE):
        nodes = WORLD.replay(starts[index], plan.actions[index])
        predicted = plan.predicted_costs[index, : len(nodes)]
        np.testing.assert_array_equal(predicted, DISTANCES[nodes, goals[index]])


def test_a_claim_is_true_in_an_exact_model(planned):
    starts, goals, plan = planned
    ends = [WORLD.replay(start, actions)[-1] for start, actions in zip(starts, plan.actions, strict=True)]
    assert (plan.claims_solved == (np.array(ends) == goals)).all()


def test_neighbours_are_reached_in_one_move(planned):
    _, _, plan = planned
    assert plan.claims_solved[2:5].all() and (lengths(plan)[2:5] == 1).all()


def test_who_is_there_already_does_nothing_and_claims_success(planned):
    _, _, plan = planned
    assert plan.claims_solved[0] and lengths(plan)[0] == 0 and plan.predicted_costs[0, 0] == 0


def test_what_cannot_be_reached_is_not_claimed(planned):
    _, goals, plan = planned
    assert not plan.claims_solved[goals == WALLED_IN].any()
    assert plan.predicted_costs[1, 0] == UNREACHABLE


def test_the_search_is_charged_for(planned):
    starts, goals, plan = planned
    assert (plan.num_nodes_generated >= lengths(plan)).all()
    assert (plan.num_nodes_generated > 0)[starts != goals].all()


def test_the_same_key_gives_the_same_plan(compiled):
    """Also after other problems have been planned with the same compiled function."""
    one = compiled(*pairs(0), seed=1)
    compiled(*pairs(1), seed=2)
    jax.tree.map(np.testing.assert_array_equal, compiled(*pairs(0), seed=1), one)
    assert compiled.num_traces == 1


def test_planners_are_values():
    for planner in PLANNERS:
        copy = dataclasses.replace(planner)
        assert planner == copy and hash(planner) == hash(copy)


WITHOUT_ENVIRONMENTS = """
import json, sys

FORBIDDEN = ("envs", "encoders", "predictors", "world_model", "dataset", "agents", "evaluation")
for name in FORBIDDEN:
    sys.modules["jepa." + name] = None  # importing it is an ImportError

import jax
import jepa.planners
from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.planners.best_first import BestFirstSearch
from tests.discovery import discover
from tests.planners.graph_world import grid_world

world = grid_world(size=4)
model = world.model(world.distances())
claims = {}
for planner in discover(Planner, jepa.planners):
    plan = jax.jit(lambda start, goal, key: planner().plan(model, start, goal, key))
    claims[planner.__name__] = plan(world.latents([0]), world.latents([5]), jax.random.key(0)).claims_solved.tolist()
loaded = sorted(name for name, module in sys.modules.items() if name.startswith("jepa.") and module is not None)
print(json.dumps({"claims": claims, "loaded": loaded}))
"""


def test_a_planner_cannot_touch_the_environment():
    """All planners work in a process in which environments and encoders cannot be imported."""
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENVIRONMENTS],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["claims"] == {type(planner).__name__: [True] for planner in PLANNERS}
    beyond = [name for name in report["loaded"] if not name.startswith("jepa.planners")]
    assert beyond == ["jepa.latents", "jepa.types"]
