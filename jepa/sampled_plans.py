"""Sampled plans in the manner in which language models are graded: pass@k, rerank@k and consensus@k.

How much chance there is in the samples matters as much as what was learned, and its scale is another one for each
method: costs in moves, distances of embeddings, log-probabilities. So each is sampled at the temperature that suits it,
chosen on problems that are not those of the test.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jepa.agents.base import Params, ScoreFunction
from jepa.evaluation import Evaluation, PlanRecords, load_problems
from jepa.planners.policy_sampling import PolicySampling
from jepa.planners.random_shooting import CLAIM_BONUS
from jepa.report import solve_for
from jepa.runs import Run
from jepa.statistics import pass_at_k
from jepa.types import Problem

Show = Callable[[str, int, int], None]
"""Receives the name of a phase with how many problems are done, and of how many."""

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""From nearly none to much: for costs, in moves; for proposals, as a power of their probabilities."""
NUM_CALIBRATED = 32
"""Problems, and plans for each, by which a temperature is chosen."""
SCORES_PER_BATCH = 8_192
"""Plans that are scored together."""


def sampled_plans(
    run: Run, problems: Problem, num_samples: int, temperatures: Sequence[float], show: Show
) -> dict[str, Any]:
    """Returns what k sampled plans are worth, for k in powers of two.

    Args:
      run: what is graded.
      problems: B test problems.
      num_samples: plans for each.
      temperatures: of which the best on other problems is taken.
      show: receives progress.
    """
    temperature, calibration = calibrated(run, temperatures, num_samples, show)
    agent, count = run.experiment.agent, len(problems.start)
    records = _sample(run, problems, num_samples, temperature, "sampled plans", show)
    shape = count, num_samples
    solved = records.solved.reshape(shape)
    score = agent.plan_scores(run.experiment.env)
    repeated = _repeated(problems, num_samples)
    scores = learned_scores(records) if score is None else _scored(score, run.params, repeated, records.actions)
    scores = scores.reshape(shape)
    actions = records.actions.reshape(*shape, -1)
    sizes = [2**power for power in range(num_samples.bit_length()) if 2**power <= num_samples]
    return {
        "num_samples": num_samples,
        "num_problems": count,
        "temperature": temperature,
        "calibration": calibration,
        "mean_nodes_per_sample": float(records.num_nodes_generated.mean()),
        "false_claims": int((records.claims_solved & ~records.solved).sum()),
        "k": sizes,
        "pass_at_k_oracle": [
            float(np.mean([pass_at_k(num_samples, int(row.sum()), k) for row in solved])) for k in sizes
        ],
        "rerank_at_k": [rerank_at_k(solved, scores, k) for k in sizes],
        "consensus_at_k": [consensus_at_k(solved, actions, k) for k in sizes],
    }


def calibrated(
    run: Run, temperatures: Sequence[float], num_samples: int, show: Show
) -> tuple[float, dict[str, list[float]] | None]:
    """Returns the temperature at which most problems are solved by one of their samples, and what each solved.

    Of equally good ones it is the one with the most right plans. The problems are drawn with another seed than those
    of the test. With a single temperature there is nothing to choose, and no such record.

    Args:
      run: what is graded.
      temperatures: those to choose from, at least one.
      num_samples: plans for each problem, `NUM_CALIBRATED` at most.
      show: receives progress.
    """
    if len(temperatures) == 1:
        return temperatures[0], None
    count, experiment = min(NUM_CALIBRATED, num_samples), run.experiment
    others = Evaluation(num_problems=NUM_CALIBRATED, problem_seed=experiment.evaluation.problem_seed + 1)
    problems = load_problems(experiment.env, others)
    shares = []
    for temperature in temperatures:
        records = _sample(run, problems, count, temperature, f"temperature {temperature:g}", show)
        solved = records.solved.reshape(-1, count)
        shares.append((float(solved.any(axis=1).mean()), float(solved.mean())))
    best = max(range(len(shares)), key=shares.__getitem__)
    return temperatures[best], {
        "temperature": list(temperatures),
        "solved_by_any_sample": [share for share, _ in shares],
        "samples_that_solve": [share for _, share in shares],
    }


def _sample(run: Run, problems: Problem, num_samples: int, temperature: float, phase: str, show: Show) -> PlanRecords:
    """Samples plans; each is a problem of its own."""
    agent = run.experiment.agent
    planner = PolicySampling(num_samples=1, horizon=agent.planner.horizon, temperature=temperature)
    plan_function = dataclasses.replace(agent, planner=planner).plan_function(run.experiment.env)
    repeated = _repeated(problems, num_samples)
    count = len(repeated.start)
    unknown = np.full(count, -1)  # The fewest moves are not asked for.
    return solve_for(run, planner, plan_function, repeated, unknown, lambda done: show(phase, done, count))


def _repeated(problems: Problem, times: int) -> Problem:
    return jax.tree.map(lambda leaf: np.repeat(leaf, times, axis=0), problems)


def _scored(
    score: ScoreFunction, params: Params, problems: Problem, actions: Int[np.ndarray, "B T"]
) -> Float[np.ndarray, " B"]:
    """Returns the scores of all plans, in batches of one size; what the last one lacks is filled up."""
    function, size, last = jax.jit(score), min(SCORES_PER_BATCH, len(actions)), len(actions) - 1
    found = []
    for first in range(0, len(actions), size):
        rows = np.arange(first, first + size).clip(max=last)
        batch, plans = jax.tree.map(lambda leaf, rows=rows: leaf[rows], (problems, actions))
        found.append(np.asarray(function(params, batch, plans)))
    return np.concatenate(found)[: len(actions)]


def learned_scores(records: PlanRecords) -> Float[np.ndarray, " B"]:
    """Returns by what plans are chosen without a verifier, less being better: claims by length, else the cost."""
    last = records.predicted_costs[np.arange(len(records.plan_lengths)), (records.actions >= 0).sum(axis=1)]
    return np.where(records.claims_solved, records.plan_lengths - CLAIM_BONUS, last)


def rerank_at_k(solved: Bool[np.ndarray, "B n"], scores: Float[np.ndarray, "B n"], k: int) -> float:
    """Returns how probably the best-scored of k plans is right, k drawn without replacement from n; no verifier helps.

    Exact, without drawing: the plan of rank r is the best of C(n - r - 1, k - 1) of the C(n, k) subsets.

    Args:
      solved: which plans are right.
      scores: what chooses among them, less being better; of equal ones the first is taken.
      k: how many.

    Raises:
      ValueError: not 1 <= k <= n.
    """
    n = solved.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"rerank_at_k needs 1 <= k <= n, got n={n}, k={k}")
    # C(n - r - 1, k - 1) / C(n, k), from one rank to the next.
    chances = np.zeros(n)
    chances[0] = k / n
    for rank in range(n - k):
        chances[rank + 1] = chances[rank] * (n - rank - k) / (n - rank - 1)
    order = np.argsort(scores, axis=1, kind="stable")
    return float((np.take_along_axis(solved, order, axis=1) * chances).sum(axis=1).mean())


def consensus_at_k(solved: Bool[np.ndarray, "B n"], actions: Int[np.ndarray, "B n H"], k: int) -> float:
    """Returns how often the most frequent of k plans is right, over the disjoint groups of k; no verifier helps.

    Plans are votes for themselves, action by action; of equally frequent ones the first is taken.

    Args:
      solved: which plans are right.
      actions: the plans.
      k: how many vote.

    Raises:
      ValueError: not 1 <= k <= n.
    """
    n = solved.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"consensus_at_k needs 1 <= k <= n, got n={n}, k={k}")
    right = []
    for row, plans in zip(solved, actions, strict=True):
        votes = [plan.tobytes() for plan in plans]
        for start in range(0, n - k + 1, k):
            group = votes[start : start + k]
            winner = Counter(group).most_common(1)[0][0]  # Of equally frequent ones the first that was met.
            right.append(row[start + group.index(winner)])
    return float(np.mean(right))
