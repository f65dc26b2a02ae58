"""Success against test-time compute: one trained agent, graded with searches of many sizes, and with sampled plans."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jepa.agents.base import Agent, Params, ScoreFunction
from jepa.config import to_json
from jepa.evaluation import PlanRecords, exact_lengths, load_problems
from jepa.metrics import wilson_interval
from jepa.planners.policy_sampling import PolicySampling
from jepa.planners.random_shooting import CLAIM_BONUS
from jepa.report import solve_for
from jepa.run_log import provenance
from jepa.runs import Run
from jepa.statistics import pass_at_k
from jepa.types import Problem

Show = Callable[[str, int, int], None]
"""Receives the name of a phase with how many problems are done, and of how many."""

SCORES_PER_BATCH = 8_192
"""Plans that are scored together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """How much compute an agent is given."""

    search_scales: tuple[float, ...] = (0.0625, 0.25, 1.0)
    """Sizes of the search, as multiples of the agent's own: of a beam its width, of a tree its simulations."""
    num_samples: int = 0
    """Plans sampled per problem, for pass@k, rerank@k and consensus@k with k up to this; 0 for none."""
    temperature: float = 0.5
    """Of sampling (see `PolicySampling`)."""
    sampled_problems: int = 100
    """Problems for which plans are sampled: the first ones."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        wrong = [scale for scale in self.search_scales if not scale > 0]
        if wrong or len(set(self.search_scales)) < len(self.search_scales):
            raise ValueError(f"--search-scales must be different numbers above 0, came {list(self.search_scales)}")
        if self.num_samples < 0 or self.sampled_problems < 1 or not self.temperature > 0:
            raise ValueError(
                f"--num-samples must be at least 0, --sampled-problems at least 1 and --temperature above 0, came "
                f"{self.num_samples}, {self.sampled_problems} and {self.temperature}"
            )
        if not self.search_scales and not self.num_samples:
            raise ValueError("expected --search-scales, --num-samples or both, came neither")


def grade_curve(run: Run, asked: Curve, show: Show) -> dict[str, Any]:
    """Returns what curve.json holds: a point for each size of the search, and what sampled plans are worth.

    Args:
      run: what is graded, with the planner and the test problems of its experiment.
      asked: how much compute.
      show: receives progress.

    Raises:
      ValueError: the planner has no size, or the test problems cannot be read or are not of this domain.
    """
    experiment = run.experiment
    problems = load_problems(experiment.env, experiment.evaluation)
    lengths = exact_lengths(experiment.env, problems, experiment.evaluation)
    result = {
        "method": type(experiment.agent).__name__,
        "domain": experiment.env.name,
        "seed": experiment.seed,
        "num_problems": len(lengths),
        "search": [_search_point(run, scale, problems, lengths, show) for scale in sorted(asked.search_scales)],
        "samples": _sampled(run, asked, problems, lengths, show) if asked.num_samples else None,
    }
    return result | {"config": to_json(experiment), "provenance": provenance()}


def _solve(
    run: Run, agent: Agent, problems: Problem, lengths: Int[np.ndarray, " B"], phase: str, show: Show
) -> PlanRecords:
    plan_function, count = agent.plan_function(run.experiment.env), len(lengths)
    return solve_for(run, agent.planner, plan_function, problems, lengths, lambda done: show(phase, done, count))


def _search_point(
    run: Run, scale: float | int, problems: Problem, lengths: Int[np.ndarray, " B"], show: Show
) -> dict[str, Any]:
    agent = run.experiment.agent
    planner = agent.planner.scaled(scale)
    phase = f"search x {scale:g}"
    records = _solve(run, dataclasses.replace(agent, planner=planner), problems, lengths, phase, show)
    solved, known = records.solved, records.optimal_lengths >= 0
    low, high = wilson_interval(int(solved.sum()), len(solved))
    return {
        "scale": scale,
        planner.compute_axis: getattr(planner, planner.compute_axis),
        "solved_fraction": float(solved.mean()),
        "solved_fraction_95_low": low,
        "solved_fraction_95_high": high,
        "mean_plan_length": _mean(records.plan_lengths[solved]),
        "mean_optimal_length": _mean(records.optimal_lengths[solved & known]),
        "mean_nodes_generated": float(records.num_nodes_generated.mean()),
        "seconds_per_problem": records.seconds_per_problem,
        "solved": solved.astype(int).tolist(),
    }


def _sampled(run: Run, asked: Curve, problems: Problem, lengths: Int[np.ndarray, " B"], show: Show) -> dict[str, Any]:
    """Returns what k sampled plans are worth, for k in powers of two; each sample is a problem of its own here."""
    agent, count, num_samples = run.experiment.agent, min(asked.sampled_problems, len(lengths)), asked.num_samples
    planner = PolicySampling(num_samples=1, horizon=agent.planner.horizon, temperature=asked.temperature)
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf[:count], num_samples, axis=0), problems)
    repeated_lengths = np.repeat(lengths[:count], num_samples)
    sampling = dataclasses.replace(agent, planner=planner)
    records = _solve(run, sampling, repeated, repeated_lengths, "sampled plans", show)
    shape = count, num_samples
    solved = records.solved.reshape(shape)
    score = agent.plan_scores(run.experiment.env)
    scores = learned_scores(records) if score is None else _scored(score, run.params, repeated, records.actions)
    scores = scores.reshape(shape)
    actions = records.actions.reshape(*shape, -1)
    sizes = [2**power for power in range(num_samples.bit_length()) if 2**power <= num_samples]
    return {
        "num_samples": num_samples,
        "num_problems": count,
        "temperature": asked.temperature,
        "mean_nodes_per_sample": float(records.num_nodes_generated.mean()),
        "false_claims": int((records.claims_solved & ~records.solved).sum()),
        "k": sizes,
        "pass_at_k_oracle": [
            float(np.mean([pass_at_k(num_samples, int(row.sum()), k) for row in solved])) for k in sizes
        ],
        "rerank_at_k": [rerank_at_k(solved, scores, k) for k in sizes],
        "consensus_at_k": [consensus_at_k(solved, actions, k) for k in sizes],
    }


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


def search_size(point: dict[str, Any]) -> tuple[str, int]:
    """Returns what says how large the search of a point of curve.json was, and how large."""
    return next((name, value) for name, value in point.items() if name.startswith(("width", "num_")))


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


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
