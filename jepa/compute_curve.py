"""Success against test-time compute: one trained agent, graded with searches of many sizes, and with sampled plans."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jepa.config import to_json
from jepa.evaluation import exact_lengths, load_problems
from jepa.metrics import wilson_interval
from jepa.report import solve_for
from jepa.run_log import provenance
from jepa.runs import Run
from jepa.sampled_plans import TEMPERATURES, Show, sampled_plans
from jepa.types import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """How much compute an agent is given."""

    search_scales: tuple[float, ...] = (0.0625, 0.25, 1.0)
    """Sizes of the search, as multiples of the agent's own: of a beam its width, of a tree its simulations."""
    num_samples: int = 0
    """Plans sampled per problem, for pass@k, rerank@k and consensus@k with k up to this; 0 for none."""
    temperatures: tuple[float, ...] = TEMPERATURES
    """Of sampling (see `PolicySampling`): taken is the one with which sampled plans solve most of other problems than
    the test's; a single one as it is."""
    sampled_problems: int = 100
    """Problems for which plans are sampled: the first ones."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        wrong = [scale for scale in self.search_scales if not scale > 0]
        if wrong or len(set(self.search_scales)) < len(self.search_scales):
            raise ValueError(f"--search-scales must be different numbers above 0, came {list(self.search_scales)}")
        if self.num_samples < 0 or self.sampled_problems < 1:
            raise ValueError(
                f"--num-samples must be at least 0 and --sampled-problems at least 1, came {self.num_samples} and "
                f"{self.sampled_problems}"
            )
        if not self.temperatures or not all(temperature > 0 for temperature in self.temperatures):
            raise ValueError(f"--temperatures must be numbers above 0, at least one, came {list(self.temperatures)}")
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
        "samples": None,
    }
    if asked.num_samples:
        count = min(asked.sampled_problems, len(lengths))
        first = jax.tree.map(lambda leaf: leaf[:count], problems)
        result["samples"] = sampled_plans(run, first, asked.num_samples, asked.temperatures, show)
    return result | {"config": to_json(experiment), "provenance": provenance()}


def _search_point(
    run: Run, scale: float | int, problems: Problem, lengths: Int[np.ndarray, " B"], show: Show
) -> dict[str, Any]:
    agent, phase = run.experiment.agent, f"search x {scale:g}"
    planner = agent.planner.scaled(scale)
    plan_function = dataclasses.replace(agent, planner=planner).plan_function(run.experiment.env)
    show_done = lambda done: show(phase, done, len(lengths))  # noqa: E731
    records = solve_for(run, planner, plan_function, problems, lengths, show_done)
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


def search_size(point: dict[str, Any]) -> tuple[str, int]:
    """Returns what says how large the search of a point of curve.json was, and how large."""
    return next((name, value) for name, value in point.items() if name.startswith(("width", "num_")))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
