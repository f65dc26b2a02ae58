"""What sampled plans are worth, by hand and by enumeration."""

import itertools
import types
from pathlib import Path

import numpy as np
import pytest

from jepa import sampled_plans
from jepa.config import Experiment
from jepa.envs.pocket_cube import PocketCube
from jepa.evaluation import Evaluation, PlanRecords
from jepa.runs import Run
from jepa.sampled_plans import calibrated, consensus_at_k, learned_scores, rerank_at_k
from jepa.types import Goal, Problem

RECORDS = PlanRecords(
    actions=np.array([[0, 1], [3, -1], [-1, -1], [1, 1]]),
    predicted_costs=np.array([[2, 1, 0], [3, 0.5, np.nan], [7, np.nan, np.nan], [3, 3, 2.5]]),
    claims_solved=np.array([True, True, False, False]),
    solved=np.array([True, False, False, False]),
    plan_lengths=np.array([2, 1, 0, 2]),
    optimal_lengths=np.array([2, 1, 9, -1]),
    num_nodes_generated=np.array([30, 10, 0, 40]),
    seconds_per_problem=0.5,
)


def test_claims_are_chosen_by_length_and_the_rest_by_cost():
    scores = learned_scores(RECORDS)
    np.testing.assert_array_equal(np.argsort(scores), [1, 0, 3, 2])
    np.testing.assert_array_equal(scores[2:], [7.0, 2.5])


@pytest.mark.parametrize("size", [2, 3, 100])
def test_plans_are_scored_in_batches_of_one_size(size, monkeypatch):
    monkeypatch.setattr(sampled_plans, "SCORES_PER_BATCH", size)
    problems = Problem(start=np.arange(5)[:, None], goal=Goal(tokens=np.zeros((5, 1), int), mask=np.ones((5, 1), bool)))
    actions = np.arange(10).reshape(5, 2)
    sizes = []

    def score(params, problems, actions):
        sizes.append(len(actions))  # once, while it is compiled
        return params["factor"] * (problems.start[:, 0] + 10.0 * actions[:, 1])

    scores = sampled_plans._scored(score, {"factor": 2.0}, problems, actions)
    np.testing.assert_array_equal(scores, [20, 62, 104, 146, 188])
    assert sizes == [min(size, 5)]


@pytest.mark.parametrize(
    ("solved", "best"),
    [
        ({0.1: "xx.. ....", 1.0: "x... .x.."}, 1.0),  # More problems, though as many plans.
        ({0.1: "xx.. x...", 1.0: "x... x..."}, 0.1),  # As many problems, and more plans.
        ({0.1: ".... ....", 1.0: ".... ...."}, 0.1),
        ({0.1: ".... ....", 1.0: ".... ...x"}, 1.0),
    ],
)
def test_temperature_is_the_one_that_solves_most_of_other_problems(solved, best, monkeypatch):
    asked = []

    def sample(run, problems, num_samples, temperature, phase, show):
        asked.append((problems, num_samples))
        marks = np.array([mark == "x" for mark in solved[temperature].replace(" ", "")])
        return types.SimpleNamespace(solved=marks)

    monkeypatch.setattr(sampled_plans, "_sample", sample)
    monkeypatch.setattr(sampled_plans, "load_problems", lambda env, evaluation: evaluation)
    test = Evaluation(num_problems=5, problem_seed=3, problems=Path("test.npz"))
    counts = dict(training_seconds=0.0, num_gradient_samples=0, num_transitions=0, num_verifier_calls=0)
    run = Run(experiment=Experiment(env=PocketCube(), evaluation=test), params={}, alarms={}, **counts)
    temperature, record = calibrated(run, (0.1, 1.0), 4, print)
    assert temperature == best
    assert record["solved_by_any_sample"][0] == np.mean(["x" in row for row in solved[0.1].split()])
    assert asked == 2 * [(Evaluation(num_problems=32, problem_seed=4), 4)]
    assert calibrated(run, (0.7,), 4, print) == (0.7, None) and len(asked) == 2


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_rerank_is_the_mean_over_all_subsets(k):
    rng = np.random.default_rng(k)
    solved, scores = rng.random((5, 6)) < 0.4, rng.integers(3, size=(5, 6)).astype(float)  # with ties
    subsets = list(itertools.combinations(range(6), k))
    by_hand = [
        row[min(subset, key=lambda index, values=values: (values[index], index))]
        for row, values in zip(solved, scores, strict=True)
        for subset in subsets
    ]
    assert rerank_at_k(solved, scores, k) == pytest.approx(np.mean(by_hand))


def test_a_score_that_knows_makes_rerank_the_oracle_and_a_wrong_one_makes_it_useless():
    solved = np.array([[True, False, False, False]])
    assert rerank_at_k(solved, -solved.astype(float), 4) == 1.0
    assert rerank_at_k(solved, solved.astype(float), 2) == 0.0
    assert rerank_at_k(solved, -solved.astype(float), 2) == pytest.approx(0.5)  # drawn by every other pair


def test_consensus_takes_the_most_frequent_plan_of_each_group():
    plans = np.array([[[0, 1], [1, 1], [1, 1], [0, 1], [0, 1], [2, 2]]])
    solved = np.array([[True, False, False, True, True, False]])
    assert consensus_at_k(solved, plans, 1) == 0.5
    assert consensus_at_k(solved, plans, 3) == 0.5  # wrong in the first three, right in the others
    assert consensus_at_k(solved, plans, 2) == pytest.approx(2 / 3)  # the first of equally frequent ones
    assert consensus_at_k(solved, plans, 6) == 1.0
    assert consensus_at_k(solved, plans, 4) == 1.0  # two for each of two plans: the first; the last two do not vote


@pytest.mark.parametrize("k", [0, 3])
def test_more_plans_than_there_are_cannot_be_drawn(k):
    with pytest.raises(ValueError, match=f"1 <= k <= n, got n=2, k={k}"):
        rerank_at_k(np.ones((1, 2), bool), np.zeros((1, 2)), k)
    with pytest.raises(ValueError, match=f"1 <= k <= n, got n=2, k={k}"):
        consensus_at_k(np.ones((1, 2), bool), np.zeros((1, 2, 1), int), k)
