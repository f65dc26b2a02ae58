"""The figures on a world model and a cost that are known to be right, wrong, or reversed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.costs.base import CostModule
from jepa.diagnostics import ROLLOUT_LENGTHS, world_model_figures
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.envs.sudoku import Sudoku
from jepa.evaluation import Evaluation, load_problems
from tests.exact_world import breadth_first, exact_world_model
from tests.test_latents import singular_value_entropy_rank

ENV = SlidingTiles(rows=2, columns=3)


class ExactCost(CostModule):
    """Looks the distance to the usual goal up; times a factor."""

    def __init__(self, world_model, factor: float):
        self.encoder, self.factor = world_model.encoder, factor
        goal = np.asarray(ENV.initial_state(jax.random.key(0)))
        self.states, self.lengths = zip(*breadth_first(ENV, goal).items(), strict=True)

    def __call__(self, latents, goals):
        tokens = self.encoder.decode(latents)
        same = (tokens[..., None, :] == jnp.asarray(self.states)).all(axis=-1)
        return self.factor * jnp.where(same, jnp.asarray(self.lengths), 0).sum(axis=-1).astype(jnp.float32)


@pytest.fixture(scope="module")
def world_model():
    return exact_world_model(ENV).build(ENV, jax.random.key(0))


@pytest.fixture(scope="module")
def problems():
    return load_problems(ENV, Evaluation(num_problems=100))


def figures(world_model, problems, factor=1.0):
    lengths = ENV.optimal_lengths(problems)
    return world_model_figures(ENV, world_model, ExactCost(world_model, factor), problems, lengths, jax.random.key(0))


def test_perfect_model_and_cost(world_model, problems):
    found = figures(world_model, problems)
    for length in ROLLOUT_LENGTHS:
        assert found[f"rollout_accuracy_{length}"] == 1.0
        assert found[f"rollout_error_{length}"] < 1e-12
    assert found["cost_spearman"] == pytest.approx(1.0)
    assert found["sibling_ranking_accuracy"] == 1.0
    latents = np.asarray(world_model.encode(jnp.asarray(problems.start)))
    assert found["effective_rank"] == pytest.approx(singular_value_entropy_rank(latents), rel=1e-2)


def test_reversed_cost(world_model, problems):
    found = figures(world_model, problems, factor=-1.0)
    assert found["cost_spearman"] == pytest.approx(-1.0)
    assert found["sibling_ranking_accuracy"] == 0.0


def test_constant_cost(world_model, problems):
    found = figures(world_model, problems, factor=0.0)
    assert np.isnan(found["cost_spearman"])
    assert found["sibling_ranking_accuracy"] == 0.5


def test_model_in_which_nothing_moves(world_model, problems, monkeypatch):
    monkeypatch.setattr(type(world_model), "predict", lambda self, latents, actions: latents)
    found = figures(world_model, problems)
    assert found["rollout_accuracy_1"] == 0.0  # The nearest is the state before, a neighbour of the true one.
    assert found["rollout_error_1"] > 0.1


def let_drift(world_model, monkeypatch):
    """Adds 0.01 to every number that is predicted, beside what the latent before it was wrong by."""
    exact, encoder = type(world_model).predict, world_model.encoder

    def drifting(self, latents, actions):
        return exact(self, latents, actions) + latents - encoder(encoder.decode(latents)) + 0.01

    monkeypatch.setattr(type(world_model), "predict", drifting)


def test_errors_add_up_only_where_nothing_is_encoded_anew(world_model, problems, monkeypatch):
    let_drift(world_model, monkeypatch)
    found = figures(world_model, problems)
    for length in ROLLOUT_LENGTHS:
        assert found[f"reencoded_rollout_error_{length}"] == pytest.approx(0.01**2, rel=1e-3)
        assert found[f"rollout_error_{length}"] == pytest.approx((length * 0.01) ** 2, rel=1e-3)


def test_a_walk_ends_where_no_move_is_left(monkeypatch):
    env = Sudoku()
    model = exact_world_model(env).build(env, jax.random.key(0))
    let_drift(model, monkeypatch)
    problems = load_problems(env, Evaluation(num_problems=20))
    found = world_model_figures(env, model, ExactCost(model, 1.0), problems, np.full(20, -1), jax.random.key(0))
    num_empty = (problems.start == 0).sum(axis=-1).max()
    assert found["rollout_error_14"] <= 1.001 * (num_empty * 0.01) ** 2 < (14 * 0.01) ** 2


def test_unknown_distances_are_nan():
    env = SlidingTiles(rows=4, columns=4)
    model = exact_world_model(env).build(env, jax.random.key(0))
    problems = load_problems(env, Evaluation(num_problems=3))
    cost = ExactCost(model, 1.0)
    found = world_model_figures(env, model, cost, problems, np.full(3, -1), jax.random.key(0))
    assert np.isnan(found["cost_spearman"]) and np.isnan(found["sibling_ranking_accuracy"])
    assert found["rollout_accuracy_14"] == 1.0
