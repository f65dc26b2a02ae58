"""Numbers from records: ranks, accuracies and intervals, in plain NumPy.

A number that the data leave undefined (a rank correlation of constants, an accuracy over no pair) is NaN;
inputs that cannot be meant are a `ValueError`.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real

Statistic = Callable[..., Any]
"""Reduces the axes of an array that are named, as `np.mean` does: `statistic(resamples, axis=(-2, -1))`."""

_NUMBERS_AT_ONCE = 1_000_000


def spearman(x: Real[np.ndarray, " B"], y: Real[np.ndarray, " B"]) -> float:
    """Returns Spearman's rank correlation in [-1, 1]: Pearson's correlation of the ranks, ties averaged.

    NaN if either side is constant (or has fewer than two values), where it is undefined.

    Source: Kendall (1945), "The treatment of ties in ranking problems" (rho_b).

    Raises:
        ValueError: If a value is NaN.
    """
    _require_no_nan(x, "x")
    _require_no_nan(y, "y")
    x_ranks, y_ranks = _average_ranks(x), _average_ranks(y)
    x_ranks, y_ranks = x_ranks - x_ranks.mean(), y_ranks - y_ranks.mean()
    scale = math.sqrt(np.dot(x_ranks, x_ranks) * np.dot(y_ranks, y_ranks))
    return float(np.dot(x_ranks, y_ranks) / scale) if scale > 0 else math.nan


def sibling_ranking_accuracy(
    predicted: Real[np.ndarray, "B A"], exact: Real[np.ndarray, "B A"], legal: Bool[np.ndarray, "B A"]
) -> float:
    """Returns the share of sibling pairs that predicted costs put in the order of the exact costs.

    A pair is two legal actions of one state whose exact costs to go differ (infinity, a dead end, is a
    cost like any other); all pairs of all states weigh the same. A predicted tie counts one half, so that
    a constant prediction scores 0.5, as does a random one on average. Higher is better; NaN without any
    pair.

    Args:
        predicted: Predicted cost to go behind each action.
        exact: Exact cost to go behind each action; both mean nothing where illegal.
        legal: Which actions exist.

    Source: the probability of concordance, Harrell et al. (1982), "Evaluating the yield of medical tests",
    within states.

    Raises:
        ValueError: If a legal action has a cost that is NaN.
    """
    _require_no_nan(predicted[legal], "predicted (where legal)")
    _require_no_nan(exact[legal], "exact (where legal)")
    num_pairs, score = 0, 0.0
    for action in range(legal.shape[1]):  # One action against all: memory stays B x A.
        better = legal & legal[:, action, None] & (exact[:, action, None] < exact)
        num_pairs += int(better.sum())
        score += float((better & (predicted[:, action, None] < predicted)).sum())
        score += 0.5 * float((better & (predicted[:, action, None] == predicted)).sum())
    return score / num_pairs if num_pairs else math.nan


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the lower and upper end of the score interval of a success rate.

    `(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)` with `p = successes / n` and `z` the normal
    quantile. Unlike the normal approximation it stays inside [0, 1] and is sound at 0 % and 100 %.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: If not 0 <= successes <= n with n > 0, or the confidence is outside (0, 1).
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"wilson_interval needs 0 <= successes <= n and n > 0, got {successes} of {n}.")
    z = statistics.NormalDist().inv_cdf((1 + _checked_confidence(confidence)) / 2)
    rate = successes / n
    centre = rate + z**2 / (2 * n)
    half_width = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    lower = 0.0 if successes == 0 else (centre - half_width) / scale
    upper = 1.0 if successes == n else (centre + half_width) / scale
    return lower, upper


def interquartile_mean(values: Real[np.ndarray, "*shape"], axis: tuple[int, ...] | None = None) -> Any:
    """Returns the mean of the middle half of the values, whatever their layout.

    A quarter of the values, rounded down, is dropped at either end.

    Args:
        values: Any number of them.
        axis: Whose values are pooled; by default all, which gives a float, else an array of the other axes.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice",
    section 4.3; the same as `rliable.metrics.aggregate_iqm`.

    Raises:
        ValueError: If there is no value or one is NaN.
    """
    _require_no_nan(values, "values")
    if values.size == 0:
        raise ValueError("interquartile_mean needs at least 1 value, got none.")
    axis = tuple(range(values.ndim)) if axis is None else axis
    pooled = np.moveaxis(values, axis, range(-len(axis), 0))
    pooled = np.sort(pooled.reshape(*pooled.shape[: -len(axis)], -1), axis=-1)
    cut = pooled.shape[-1] // 4
    means = pooled[..., cut : pooled.shape[-1] - cut].mean(axis=-1)
    return means if means.ndim else float(means)


def stratified_bootstrap_interval(
    values: Real[np.ndarray, "seeds problems"],
    statistic: Statistic,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Returns a percentile bootstrap interval of a statistic, seeds drawn anew within each problem.

    Every column is a stratum: its seeds are drawn with replacement, independently of the other columns.
    That is right where every cell is a run of its own (an agent trained per problem). Where one trained
    model solves all problems, what a seed does to all its problems alike averages out over the columns and
    the interval comes out far too narrow: use `two_way_bootstrap_interval`.

    Source: Agarwal et al. (2021), section 4.1, and `rliable.library.StratifiedBootstrap` with its defaults.

    Args:
        values: One number per seed and problem.
        statistic: Such as `np.mean` or `interquartile_mean`; called with resamples along the first axis.
        num_resamples: How many bootstrap samples are drawn.
        seed: Of the resampling.
        confidence: Coverage that is aimed at.

    Raises:
        ValueError: If the array is empty or not finite, or a number makes no sense.
    """
    num_seeds, num_problems = _checked_matrix(values)

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        rows = rng.integers(num_seeds, size=(count, num_seeds, num_problems))
        return values[rows, np.arange(num_problems)]

    return _bootstrap_interval(values, draw, statistic, num_resamples, seed, confidence)


def two_way_bootstrap_interval(
    values: Real[np.ndarray, "seeds problems"],
    statistic: Statistic,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Returns a percentile bootstrap interval of a statistic, whole seeds and whole problems drawn anew.

    Rows and columns are drawn with replacement, independently of each other, and the resample is where
    they cross. It covers what another training seed and what another draw of problems would change, for
    one model per seed that solves all problems; somewhat wide rather than narrow when both matter little.
    With very few seeds every bootstrap is too narrow: 3 rows show 2/3 of the variance between seeds.

    Source: Owen (2007), "The pigeonhole bootstrap", section 3.

    Args:
        values: One number per seed and problem.
        statistic: Such as `np.mean` or `interquartile_mean`; called with resamples along the first axis.
        num_resamples: How many bootstrap samples are drawn.
        seed: Of the resampling.
        confidence: Coverage that is aimed at.

    Raises:
        ValueError: If the array is empty or not finite, or a number makes no sense.
    """
    num_seeds, num_problems = _checked_matrix(values)

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        rows, columns = draw_indices(rng, count, [num_seeds, num_problems])
        return values[rows[:, :, None], columns[:, None, :]]

    return _bootstrap_interval(values, draw, statistic, num_resamples, seed, confidence)


def draw_indices(
    rng: np.random.Generator, num_resamples: int, sizes: Sequence[int]
) -> list[Int[np.ndarray, "resamples _"]]:
    """Returns, for groups of the given sizes, which of their members each resample has: as many, with replacement.

    Resamples come one after another out of the generator, so fewer of them are a prefix of more.
    """
    drawn = rng.integers(np.repeat(sizes, sizes), size=(num_resamples, sum(sizes)))
    return np.split(drawn, np.cumsum(sizes)[:-1], axis=1)


def percentile_interval(drawn: Real[np.ndarray, " resamples"], confidence: float) -> tuple[float, float]:
    """Returns the percentiles that cut off equal tails of a bootstrap distribution.

    Args:
        drawn: What a statistic is of each resample, one at least.
        confidence: Coverage that is aimed at.

    Raises:
        ValueError: If the confidence is outside (0, 1).
    """
    tail = (1 - _checked_confidence(confidence)) / 2
    lower, upper = np.quantile(drawn, [tail, 1 - tail])
    return float(lower), float(upper)


def require_resamples(num_resamples: int) -> None:
    """Refuses a bootstrap without resamples.

    Raises:
        ValueError: If there are none.
    """
    if num_resamples < 1:
        raise ValueError(f"a bootstrap needs num_resamples >= 1, got {num_resamples}.")


def _bootstrap_interval(
    values: np.ndarray,
    draw: Callable[[np.random.Generator, int], np.ndarray],
    statistic: Statistic,
    num_resamples: int,
    seed: int,
    confidence: float,
) -> tuple[float, float]:
    """Returns the percentile interval of a statistic of resamples, drawn not all at once but as many as fit a cache."""
    require_resamples(num_resamples)
    rng = np.random.default_rng(seed)
    at_once = max(_NUMBERS_AT_ONCE // values.size, 1)
    counts = [min(at_once, num_resamples - done) for done in range(0, num_resamples, at_once)]
    drawn = np.concatenate([statistic(draw(rng, count), axis=(-2, -1)) for count in counts])
    return percentile_interval(drawn, confidence)


def _average_ranks(values: np.ndarray) -> Float[np.ndarray, " B"]:
    """Returns ranks from 1; equal values share the mean of the ranks they take up."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last_rank: Int[np.ndarray, " groups"] = np.cumsum(sizes)
    return (last_rank - (sizes - 1) / 2)[group]


def _checked_matrix(values: np.ndarray) -> tuple[int, int]:
    """Returns the numbers of seeds and problems of a matrix that can be resampled."""
    if values.size == 0:
        raise ValueError(f"a bootstrap needs at least 1 seed and 1 problem, got shape {values.shape}.")
    _require_finite(values, "values")
    return values.shape


def _checked_confidence(confidence: float) -> float:
    """Returns the confidence if it is a probability strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be inside (0, 1), for example 0.95, got {confidence}.")
    return confidence


def _require_finite(values: np.ndarray, name: str) -> None:
    """Refuses NaN and infinity."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(values)).sum())} NaN or infinite.")


def _require_no_nan(values: np.ndarray, name: str) -> None:
    """Refuses NaN."""
    if np.isnan(values).any():
        raise ValueError(f"{name} must not hold NaN, got {int(np.isnan(values).sum())} of {values.size}.")
