"""Statistics of comparisons against SciPy, brute force, closed forms and the published behaviour of rliable."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from jepa import metrics, statistics


def tasks(matrix) -> list[np.ndarray]:
    """The columns of a matrix of seeds x tasks, which is how rliable has scores."""
    return list(np.asarray(matrix).T)


# The score matrices and expected numbers of rliable's own tests/rliable/metrics_test.py.
X = np.array([[1, 2], [2, 2], [1, 1], [2, 1]])
Y = np.array([[1, 1], [2, 2], [3, 3]])


def test_probability_of_improvement_and_iqm_equal_those_in_the_tests_of_rliable() -> None:
    assert statistics.probability_of_improvement(tasks(X), tasks(Y)) == pytest.approx(1 / 3, abs=1e-12)
    assert (metrics.interquartile_mean(X), metrics.interquartile_mean(Y)) == (1.5, 2.0)


@pytest.mark.parametrize("seed", range(5))
def test_probability_of_improvement_equals_mann_whitney_and_is_antisymmetric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = [rng.integers(4, size=size) for size in (3, 5, 8)]
    y = [rng.integers(4, size=size) for size in (4, 2, 8)]
    u = [scipy.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(x, y, strict=True)]
    assert statistics.probability_of_improvement(x, y) == pytest.approx(np.mean(u), abs=1e-12)
    both_ways = statistics.probability_of_improvement(x, y) + statistics.probability_of_improvement(y, x)
    assert both_ways == pytest.approx(1.0, abs=1e-12)
    assert statistics.probability_of_improvement(x, x) == 0.5


def test_probability_of_improvement_weighs_tasks_alike_whatever_their_numbers_of_seeds() -> None:
    x, y = [np.ones(10), np.zeros(1)], [np.zeros(10), np.ones(1)]
    assert statistics.probability_of_improvement(x, y) == 0.5


def test_interval_of_improvement_equals_the_listed_resamples() -> None:
    x, y = [np.array([0.0, 2.0]), np.array([5.0, 1.0])], [np.array([1.0, 2.0]), np.array([3.0, 4.0, 0.0])]
    draws = [list(itertools.product(scores, repeat=len(scores))) for scores in (*x, *y)]
    values = [
        statistics.probability_of_improvement([np.array(a), np.array(b)], [np.array(c), np.array(d)])
        for a, b, c, d in itertools.product(*draws)
    ]
    expected = np.quantile(values, [0.123, 1 - 0.123])  # Inside an atom, where the percentile is exact.
    settings = {"num_resamples": 4_000, "confidence": 1 - 2 * 0.123}
    interval = statistics.probability_of_improvement_interval(x, y, seed=3, **settings)
    assert interval == pytest.approx(tuple(expected), abs=1e-9)
    assert interval == statistics.probability_of_improvement_interval(x, y, seed=3, **settings)


def test_interval_of_improvement_shrinks_to_certainty() -> None:
    x, y = [np.array([0.8, 0.9, 1.0])], [np.array([0.1, 0.2, 0.3])]
    assert statistics.probability_of_improvement_interval(x, y, num_resamples=50) == (1.0, 1.0)
    with pytest.raises(ValueError, match="num_resamples"):
        statistics.probability_of_improvement_interval(x, y, num_resamples=0)
    with pytest.raises(ValueError, match="confidence"):
        statistics.probability_of_improvement_interval(x, y, confidence=95.0)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], [], "at least 1"),
        ([np.ones(1)], [np.ones(1), np.ones(1)], "got 1 and 2 tasks"),
        ([np.ones(0)], [np.ones(1)], r"x\[0\] needs at least 1"),
        ([np.ones(1)], [np.array([math.nan])], r"y\[0\] must not hold NaN"),
    ],
)
def test_probability_of_improvement_refuses_scores_of_no_or_other_tasks(x, y, message) -> None:
    for function in (statistics.probability_of_improvement, statistics.probability_of_improvement_interval):
        with pytest.raises(ValueError, match=message):
            function(x, y)


def test_performance_profile_counts_scores_strictly_above() -> None:
    scores = np.array([[0.0, 0.5], [0.5, 1.0]])
    profile = statistics.performance_profile(scores, np.array([-0.1, 0.0, 0.25, 0.5, 1.0]))
    assert profile.tolist() == [1.0, 0.75, 0.75, 0.25, 0.0]
    rng = np.random.default_rng(0)
    scores, thresholds = rng.random((5, 7)), np.linspace(0, 1, 11)
    brute = [np.mean([[score > threshold for score in row] for row in scores]) for threshold in thresholds]
    np.testing.assert_allclose(statistics.performance_profile(scores, thresholds), brute, atol=1e-12)
    # The area under the profile of scores in [0, 1] is their mean.
    fine = np.linspace(0, 1, 20_001)
    assert np.trapezoid(statistics.performance_profile(scores, fine), fine) == pytest.approx(scores.mean(), abs=1e-4)


def test_optimality_gap_forgives_nothing_below_and_rewards_nothing_beyond_the_optimum() -> None:
    assert statistics.optimality_gap(np.array([[0.5, 1.0], [0.0, 3.0]])) == pytest.approx(0.375)
    assert statistics.optimality_gap(np.array([1.0, 2.0])) == 0.0
    assert statistics.optimality_gap(np.array([1.0, 3.0]), optimum=2.0) == pytest.approx(0.5)
    rates = np.random.default_rng(1).random((3, 4))
    assert statistics.optimality_gap(rates) == pytest.approx(1 - rates.mean(), abs=1e-12)
    for function in (statistics.optimality_gap, lambda x: statistics.performance_profile(x, np.zeros(1))):
        with pytest.raises(ValueError, match="at least 1"):
            function(np.zeros((0, 3)))
        with pytest.raises(ValueError, match="NaN"):
            function(np.array([math.nan]))


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (6, 0), (6, 2), (6, 5), (6, 6)])
def test_pass_at_k_equals_the_share_of_all_choices_of_k_attempts_with_a_success(n: int, c: int) -> None:
    for k in range(1, n + 1):
        choices = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert statistics.pass_at_k(n, c, k) == pytest.approx(np.mean([any(choice) for choice in choices]), abs=1e-12)


def test_pass_at_k_is_exact_for_many_attempts_and_refuses_impossible_counts() -> None:
    assert statistics.pass_at_k(10_000, 1, 5_000) == 0.5
    for n, c, k in ((0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)):
        with pytest.raises(ValueError, match="pass_at_k needs"):
            statistics.pass_at_k(n, c, k)


def test_classical_scaling_finds_points_of_a_plane_again() -> None:
    points = np.random.default_rng(0).normal(size=(20, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found = statistics.classical_scaling(distances)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=-1), distances, atol=1e-8)
