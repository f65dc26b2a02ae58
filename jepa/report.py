"""Grades a run: our planner, its ceiling and its floor on the same problems and budget, as JSON and as a table."""

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.config import Experiment, to_json
from jepa.diagnostics import world_model_figures
from jepa.evaluation import PlanRecords, exact_model, load_problems, solve
from jepa.metrics import wilson_interval
from jepa.planners.random_shooting import RandomShooting
from jepa.run_log import provenance, write_json_atomic
from jepa.runs import Run
from jepa.training import data_mesh
from jepa.types import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one evaluation."""

    summary: dict[str, Any]
    """What summary.json holds."""
    problems: Problem
    """The test problems."""
    records: PlanRecords
    """What the latent planner did with them."""


def evaluate_run(run: Run, say: Callable[[str], None]) -> Report:
    """Solves the test problems by latent planning, by the same planner on the exact model, and at random."""
    experiment = run.experiment
    env, agent, evaluation, mesh = experiment.env, experiment.agent, experiment.evaluation, data_mesh()
    problems = load_problems(env, evaluation)
    count = problems.start.shape[0]

    def progress(name: str) -> Callable[[int], None]:
        return lambda done: say(f"{name}: {done} of {count} problems")

    records = solve(env, agent.plan_function(env, run.params), problems, evaluation, mesh, progress("latent planner"))
    world_model, cost = agent.modules(env, run.params)
    exact, encode_exactly = exact_model(env, world_model, cost)
    ceiling = solve(
        env,
        lambda batch, key: agent.planner.plan(
            exact, encode_exactly(batch.start), encode_exactly(batch.goal.tokens), key
        ),
        problems,
        evaluation,
        mesh,
        progress("exact-model ceiling"),
    )
    floor_agent = dataclasses.replace(agent, planner=_floor(agent.planner.horizon, records))
    floor = solve(env, floor_agent.plan_function(env, run.params), problems, evaluation, mesh, progress("random floor"))
    figures = world_model_figures(env, world_model, cost, problems, jax.random.key(evaluation.problem_seed))
    summary = _summary(experiment, run, records, ceiling, floor) | figures
    return Report(
        summary={name: _json_number(value) for name, value in summary.items()}, problems=problems, records=records
    )


def _floor(horizon: int, records: PlanRecords) -> RandomShooting:
    """Random shooting with at least the nodes that the planner generated on average."""
    num_samples = max(1, math.ceil(records.num_nodes_generated.mean() / horizon))
    return RandomShooting(num_samples=num_samples, horizon=horizon)


def _summary(
    experiment: Experiment, run: Run, records: PlanRecords, ceiling: PlanRecords, floor: PlanRecords
) -> dict[str, Any]:
    solved, count = records.solved, len(records.solved)
    low, high = wilson_interval(int(solved.sum()), count)
    return {
        "num_problems": count,
        "solved_fraction": solved.mean(),
        "solved_fraction_95_low": low,
        "solved_fraction_95_high": high,
        "mean_plan_length": _mean(records.plan_lengths, solved),
        "mean_optimal_length": _mean(records.optimal_lengths, solved & (records.optimal_lengths >= 0)),
        "optimal_fraction": _mean(records.plan_lengths == records.optimal_lengths, solved),
        "mean_nodes_generated": records.num_nodes_generated.mean(),
        "seconds_per_problem": records.seconds_per_problem,
        "false_claim_fraction": false_claim_fraction(records),
        "exact_model_solved_fraction": ceiling.solved.mean(),
        "exact_model_mean_plan_length": _mean(ceiling.plan_lengths, ceiling.solved),
        "exact_model_mean_nodes_generated": ceiling.num_nodes_generated.mean(),
        "random_solved_fraction": floor.solved.mean(),
        "random_mean_nodes_generated": floor.num_nodes_generated.mean(),
        "num_transitions": experiment.num_transitions,
        "num_gradient_samples": sum(
            schedule.num_updates * schedule.batch_size
            for schedule in (experiment.agent.world_model_training, experiment.agent.cost_training)
        ),
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(run.params)),
        "training_seconds": run.training_seconds,
        "seed": experiment.seed,
        "config": to_json(experiment),
        "provenance": provenance(),
    }


def false_claim_fraction(records: PlanRecords) -> float:
    """Returns the share of all problems whose plan claims the goal and is rejected by the verifier."""
    return float((records.claims_solved & ~records.solved).mean())


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else math.nan


def _json_number(value: Any) -> Any:
    """NaN, which JSON does not have, becomes null."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def write_report(report: Report, folder: Path) -> Path:
    """Writes summary.json and records.jsonl; returns the path of the summary."""
    records, problems = report.records, report.problems
    lines = []
    for index in range(len(records.solved)):
        length = int(records.plan_lengths[index])
        line = {
            "start": problems.start[index].tolist(),
            "goal": problems.goal.tokens[index].tolist(),
            "actions": records.actions[index, :length].tolist(),
            "predicted_costs": [round(float(cost), 4) for cost in records.predicted_costs[index, : length + 1]],
            "claims_solved": bool(records.claims_solved[index]),
            "solved": bool(records.solved[index]),
            "optimal_length": int(records.optimal_lengths[index]),
            "num_nodes_generated": int(records.num_nodes_generated[index]),
        }
        lines.append(json.dumps(line))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".records.jsonl.tmp"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(temporary, folder / "records.jsonl")
    write_json_atomic(folder / "summary.json", report.summary)
    return folder / "summary.json"
