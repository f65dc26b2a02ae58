"""Metrics against SciPy, brute force and closed forms."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from jepa import metrics


def exact_interval(samples: list[np.ndarray], tail: float) -> tuple[float, float]:
    """Percentiles of the mean over all equally likely resamples, listed one by one."""
    lower, upper = np.quantile([sample.mean() for sample in samples], [tail, 1 - tail])
    return float(lower), float(upper)


# Rankings.


@pytest.mark.parametrize("seed", range(5))
def test_spearman_equals_scipy_with_and_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for x, y in (
        (rng.normal(size=50), rng.normal(size=50)),
        (rng.integers(5, size=50), rng.integers(3, size=50)),
    ):
        assert metrics.spearman(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)


def test_spearman_is_one_for_increasing_functions_and_nan_for_constants() -> None:
    x = np.array([3.0, -1.0, 2.0, math.inf])
    assert metrics.spearman(x, np.exp(-x)) == pytest.approx(-1.0)
    assert math.isnan(metrics.spearman(x, np.zeros(4)))
    with pytest.raises(ValueError, match="NaN"):
        metrics.spearman(x, np.full(4, np.nan))


@pytest.mark.parametrize("seed", range(5))
def test_sibling_ranking_accuracy_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.integers(6, size=(20, 5)).astype(np.float32)
    exact = rng.choice([1.0, 2.0, 3.0, math.inf], size=(20, 5))
    legal = rng.random((20, 5)) < 0.7
    exact[~legal] = math.nan
    scores = []
    for state in range(20):
        for i, j in itertools.combinations(np.flatnonzero(legal[state]), 2):
            if exact[state, i] != exact[state, j]:
                better, worse = (i, j) if exact[state, i] < exact[state, j] else (j, i)
                ahead = predicted[state, worse] - predicted[state, better]
                scores.append(0.5 if ahead == 0 else float(ahead > 0))
    assert metrics.sibling_ranking_accuracy(predicted, exact, legal) == pytest.approx(np.mean(scores), abs=1e-12)


def test_sibling_ranking_accuracy_of_the_extremes() -> None:
    exact = np.array([[1, 2, 3, 3]])
    legal = np.ones((1, 4), bool)
    assert metrics.sibling_ranking_accuracy(exact, exact, legal) == 1.0
    assert metrics.sibling_ranking_accuracy(-exact, exact, legal) == 0.0
    assert metrics.sibling_ranking_accuracy(0 * exact, exact, legal) == 0.5
    assert math.isnan(metrics.sibling_ranking_accuracy(exact, exact, np.zeros((1, 4), bool)))
    with pytest.raises(ValueError, match="NaN"):
        metrics.sibling_ranking_accuracy(np.full((1, 4), np.nan), exact, legal)


# Intervals.


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (497, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_interval_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert metrics.wilson_interval(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_refuses_impossible_counts() -> None:
    for successes, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="0 <= successes <= n"):
            metrics.wilson_interval(successes, n)
    with pytest.raises(ValueError, match="confidence"):
        metrics.wilson_interval(1, 2, 95.0)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 101])
def test_interquartile_mean_equals_the_trimmed_mean_of_scipy(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    assert metrics.interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-12)


def test_interquartile_mean_pools_a_matrix_and_refuses_nothing() -> None:
    assert metrics.interquartile_mean(np.array([[1, 2], [3, 1000]])) == 2.5
    with pytest.raises(ValueError, match="at least 1"):
        metrics.interquartile_mean(np.zeros((0,)))


def test_interquartile_mean_reduces_the_named_axes_alone() -> None:
    values = np.random.default_rng(0).random((4, 3, 5))
    assert metrics.interquartile_mean(values, axis=(-2, -1)).tolist() == [metrics.interquartile_mean(x) for x in values]
    assert metrics.interquartile_mean(values, axis=(0,)).shape == (3, 5)


def test_bootstrap_intervals_do_not_depend_on_how_many_resamples_are_drawn_at_once(monkeypatch) -> None:
    values = np.random.default_rng(0).random((3, 10))
    for interval in (metrics.stratified_bootstrap_interval, metrics.two_way_bootstrap_interval):
        together = interval(values, np.mean, num_resamples=50)
        with monkeypatch.context() as patch:
            patch.setattr(metrics, "_NUMBERS_AT_ONCE", 7 * values.size)
            assert interval(values, np.mean, num_resamples=50) == pytest.approx(together, abs=1e-12)


def test_bootstrap_intervals_equal_the_listed_resamples() -> None:
    values = np.array([[0.0, 1.0, 4.0], [2.0, 7.0, 5.0]])
    within_columns = [
        np.take_along_axis(values, np.reshape(rows, (2, 3)), axis=0) for rows in itertools.product(range(2), repeat=6)
    ]
    crossed = [
        values[np.ix_(rows, columns)]
        for rows in itertools.product(range(2), repeat=2)
        for columns in itertools.product(range(3), repeat=3)
    ]
    # Tails of 12.3 % fall inside an atom of either distribution, where the percentile is exact.
    settings = {"num_resamples": 20_000, "seed": 3, "confidence": 1 - 2 * 0.123}
    stratified = metrics.stratified_bootstrap_interval(values, np.mean, **settings)
    assert stratified == pytest.approx(exact_interval(within_columns, 0.123), abs=1e-9)
    two_way = metrics.two_way_bootstrap_interval(values, np.mean, **settings)
    assert two_way == pytest.approx(exact_interval(crossed, 0.123), abs=1e-9)


def test_only_the_two_way_bootstrap_sees_what_a_seed_does_to_all_its_problems() -> None:
    rng = np.random.default_rng(0)
    settings = {"num_resamples": 200}
    covered = np.zeros(2)
    for trial in range(100):
        values = rng.normal(size=(10, 1)) + rng.normal(size=(10, 40))  # True mean 0.
        for column, interval in enumerate((metrics.stratified_bootstrap_interval, metrics.two_way_bootstrap_interval)):
            lower, upper = interval(values, np.mean, seed=trial, **settings)
            covered[column] += lower <= 0.0 <= upper
    assert covered[0] < 50  # A nominal 95 % interval.
    assert covered[1] >= 85


def test_bootstrap_is_reproducible_and_refuses_bad_input() -> None:
    values = np.random.default_rng(0).random((3, 10))
    for interval in (metrics.stratified_bootstrap_interval, metrics.two_way_bootstrap_interval):
        settings = {"num_resamples": 50, "seed": 1}
        first = interval(values, metrics.interquartile_mean, **settings)
        assert first == interval(values, metrics.interquartile_mean, **settings)
        assert first[0] <= metrics.interquartile_mean(values) <= first[1]
        with pytest.raises(ValueError, match="at least 1 seed and 1 problem"):
            interval(values[:0], np.mean)
        with pytest.raises(ValueError, match="num_resamples"):
            interval(values, np.mean, num_resamples=0)
        with pytest.raises(ValueError, match="finite"):
            interval(values * np.nan, np.mean)
