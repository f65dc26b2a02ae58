"""Numbers that compare methods over tasks and seeds, in plain NumPy: those of Agarwal et al. (2021), and pass@k.

A score is what one run reaches on one task, such as the share of problems that one seed solves; higher is better. A
task is a stratum: its runs are resampled on their own. Intervals of means and interquartile means are in `metrics`.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from jepa.metrics import draw_indices, percentile_interval, require_resamples

Scores = Sequence[Real[np.ndarray, "_"]]
"""Scores of one method: an array per task with one score per seed; tasks may have different numbers of seeds."""


def probability_of_improvement(x: Scores, y: Scores) -> float:
    """Returns the probability that a run of X beats a run of Y on the same task, averaged over tasks.

    On each task `U / (n m)` of Mann and Whitney: the share of pairs of runs that X wins, a tie counts one half. 0.5
    means that neither is better.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", section 4.3;
    the same as `rliable.metrics.probability_of_improvement`, which wants equal numbers of seeds on all tasks.

    Args:
        x: Scores of X, one array per task.
        y: Scores of Y on the same tasks.

    Raises:
        ValueError: If there is no task, their numbers differ, a task has no score, or a score is NaN.
    """
    _require_tasks(x, y)
    return float(np.mean([wins.mean() for wins in _wins(x, y)]))


def probability_of_improvement_interval(
    x: Scores, y: Scores, *, num_resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Returns a percentile bootstrap interval of `probability_of_improvement`.

    The seeds of X and of Y are drawn with replacement within each task, independently of each other.

    Source: Agarwal et al. (2021), section 4.1, and `rliable.library.StratifiedIndependentBootstrap`.

    Args:
        x: Scores of X, one array per task.
        y: Scores of Y on the same tasks.
        num_resamples: How many bootstrap samples are drawn.
        seed: Of the resampling.
        confidence: Coverage that is aimed at.

    Raises:
        ValueError: As for `probability_of_improvement`, or a number makes no sense.
    """
    _require_tasks(x, y)
    require_resamples(num_resamples)
    sizes = [len(scores) for side in (x, y) for scores in side]
    indices = draw_indices(np.random.default_rng(seed), num_resamples, sizes)
    rates = np.zeros(num_resamples)
    for wins, rows, columns in zip(_wins(x, y), indices[: len(x)], indices[len(x) :], strict=True):
        rates += wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)) / len(x)
    return percentile_interval(rates, confidence)


def performance_profile(
    scores: Real[np.ndarray, "*shape"], thresholds: Real[np.ndarray, " thresholds"]
) -> Float[np.ndarray, " thresholds"]:
    """Returns the share of all runs on all tasks whose score is above each threshold; the higher the curve, the better.

    Source: Agarwal et al. (2021), section 4.2 (run-score distribution); as in rliable, a score equal to the threshold
    is not above it.

    Raises:
        ValueError: If there is no score or one is NaN.
    """
    _require_scores(scores, "scores")
    return (scores.reshape(-1, 1) > thresholds).mean(axis=0)


def optimality_gap(scores: Real[np.ndarray, "*shape"], optimum: float = 1.0) -> float:
    """Returns how far the scores fall short of the optimum on average; lower is better, scores beyond it gain nothing.

    Source: Agarwal et al. (2021), section 4.3; the same as `rliable.metrics.aggregate_optimality_gap`.

    Raises:
        ValueError: If there is no score or one is NaN.
    """
    _require_scores(scores, "scores")
    return float(optimum - np.minimum(scores, optimum).mean())


def pass_at_k(n: int, c: int, k: int) -> float:
    """Returns the unbiased estimate of the probability that at least one of k attempts succeeds.

    `1 - C(n - c, k) / C(n, k)` from `c` successes in `n` attempts, in exact integers. Whoever reports it assumes that
    a verifier picks the right attempt.

    Source: Chen et al. (2021), "Evaluating large language models trained on code", equation 1.

    Raises:
        ValueError: If not 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass_at_k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}.")
    every = math.comb(n, k)
    return (every - math.comb(n - c, k)) / every


def _wins(x: Scores, y: Scores) -> list[Float[np.ndarray, "_ _"]]:
    """Returns for each task which runs of X, in rows, beat which of Y; a tie counts one half."""
    return [(a[:, None] > b) + 0.5 * (a[:, None] == b) for a, b in zip(x, y, strict=True)]


def _require_tasks(x: Scores, y: Scores) -> None:
    """Refuses scores that are not of the same tasks."""
    if len(x) != len(y) or not x:
        raise ValueError(f"expected scores of the same tasks, at least 1, got {len(x)} and {len(y)} tasks.")
    for name, side in (("x", x), ("y", y)):
        for task, scores in enumerate(side):
            _require_scores(scores, f"{name}[{task}]")


def _require_scores(scores: np.ndarray, name: str) -> None:
    """Refuses no score, and NaN."""
    if scores.size == 0:
        raise ValueError(f"{name} needs at least 1 score, got none.")
    if np.isnan(scores).any():
        raise ValueError(f"{name} must not hold NaN, got {int(np.isnan(scores).sum())} of {scores.size}.")


def classical_scaling(distances: Float[np.ndarray, "M M"]) -> Float[np.ndarray, "M 2"]:
    """Returns places on a plane whose distances are as like the given ones as a linear map allows.

    Exact where the distances are those of points on a plane.

    Args:
      distances: symmetric, not negative.

    Source: Torgerson, 1952, "Multidimensional scaling: I. Theory and method".
    """
    squared = distances.astype(float) ** 2
    products = -0.5 * (squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean())
    values, vectors = np.linalg.eigh(products)
    return vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0.0))
