"""Grades a run: an agent, its ceiling and its floor on the same problems and budget, as JSON and as a table."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jepa.agents.base import PlanFunction
from jepa.agents.latent_planner import LatentPlanner
from jepa.agents.random_plans import RandomPlans
from jepa.answers import Evidence, answer, answer_figures, find_refutations, gather_evidence
from jepa.config import to_json
from jepa.diagnostics import world_model_figures
from jepa.evaluation import PlanRecords, exact_lengths, exact_plan_function, load_problems, solve
from jepa.mesh import data_mesh
from jepa.metrics import wilson_interval
from jepa.planners.base import Planner
from jepa.planners.random_shooting import RandomShooting
from jepa.run_log import provenance, write_atomic, write_json_atomic
from jepa.runs import Run
from jepa.types import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one evaluation."""

    summary: dict[str, Any]
    """What summary.json holds."""
    problems: Problem
    """The test problems."""
    records: PlanRecords
    """What the agent did with them."""
    evidence: Evidence
    """Its plans written out, and refutations."""


def evaluate_run(run: Run, show: Callable[[str, int, int], None]) -> Report:
    """Solves the test problems by the agent and at random, and where it has a learned model also by the exact one.

    Args:
      run: what is graded, with the planner and the test problems of its experiment.
      show: receives the name of each phase with how many problems are done, and of how many.

    Raises:
      ValueError: the test problems cannot be read or are not of this domain, or the domain contradicts itself.
    """
    experiment = run.experiment
    env, agent, evaluation = experiment.env, experiment.agent, experiment.evaluation
    problems = load_problems(env, evaluation)
    lengths = exact_lengths(env, problems, evaluation)
    count = problems.start.shape[0]

    def grade(phase: str, planner: Planner, plan_function: PlanFunction) -> PlanRecords:
        return solve_for(run, planner, plan_function, problems, lengths, lambda done: show(phase, done, count))

    phase = "learned model" if isinstance(agent, LatentPlanner) else "plans"
    records = grade(phase, agent.planner, agent.plan_function(env))
    shooting = _floor(agent.planner.horizon, records)
    ceiling, figures = None, {}
    if isinstance(agent, LatentPlanner):
        ceiling = grade("exact model", agent.planner, exact_plan_function(env, agent))
        random_plans = dataclasses.replace(agent, planner=shooting).plan_function(env)
        world_model, cost = agent.modules(env, run.params)
        key = jax.random.key(evaluation.problem_seed)
        figures = world_model_figures(env, world_model, cost, problems, lengths, key)
    else:
        random_plans = RandomPlans(planner=shooting).plan_function(env)
    floor = grade("random plans", shooting, random_plans)
    evidence = gather_evidence(env, problems, records, find_refutations(env, problems))
    figures |= answer_figures(env, evidence, records, ceiling, floor)
    summary = {name: _json_number(value) for name, value in (_summary(run, records, ceiling, floor) | figures).items()}
    return Report(summary=summary, problems=problems, records=records, evidence=evidence)


def solve_for(
    run: Run,
    planner: Planner,
    plan_function: PlanFunction,
    problems: Problem,
    lengths: Int[np.ndarray, " B"],
    on_batch: Callable[[int], None],
) -> PlanRecords:
    """Plans with the parameters and the seed of a run, on all devices, in batches that suit the planner.

    Args:
      run: the trained run.
      planner: what the plans are made by, perhaps not the run's own.
      plan_function: parameters and problems to plans.
      problems: B problems.
      lengths: their least numbers of actions.
      on_batch: called with the number of problems done.
    """
    env, evaluation = run.experiment.env, run.experiment.evaluation
    batched = evaluation.batched(planner.nodes_per_ply(env.num_actions))
    seed = run.experiment.seed
    return solve(env, plan_function, run.params, problems, batched, data_mesh(), on_batch, lengths, seed)


def _floor(horizon: int, records: PlanRecords) -> RandomShooting:
    """Random shooting with at least the nodes that the planner generated on average."""
    num_samples = max(1, math.ceil(records.num_nodes_generated.mean() / horizon))
    return RandomShooting(num_samples=num_samples, horizon=horizon)


def _summary(run: Run, records: PlanRecords, ceiling: PlanRecords | None, floor: PlanRecords) -> dict[str, Any]:
    solved, count = records.solved, len(records.solved)
    low, high = wilson_interval(int(solved.sum()), count)
    known = records.optimal_lengths >= 0
    return {
        "method": type(run.experiment.agent).__name__,
        "domain": run.experiment.env.name,
        "num_problems": count,
        "solved_fraction": solved.mean(),
        "solved_fraction_95_low": low,
        "solved_fraction_95_high": high,
        "mean_plan_length": _mean(records.plan_lengths, solved),
        "mean_optimal_length": _mean(records.optimal_lengths, solved & known),
        "optimal_fraction": _mean(records.plan_lengths == records.optimal_lengths, solved & known),
        "mean_nodes_generated": records.num_nodes_generated.mean(),
        "seconds_per_problem": records.seconds_per_problem,
        "claimed_fraction": records.claims_solved.mean(),
        "false_claim_fraction": false_claim_fraction(records),
        **({} if ceiling is None else _beside("exact_model", ceiling)),
        **_beside("random", floor),
        "num_transitions": run.num_transitions,
        "training_verifier_calls": run.num_verifier_calls,
        "mean_planning_verifier_calls": _planning_verifier_calls(run, records),
        "num_gradient_samples": run.num_gradient_samples,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(run.params)),
        "training_seconds": run.training_seconds,
        "seed": run.experiment.seed,
        **run.alarms,
        "config": to_json(run.experiment),
        "provenance": provenance(),
    }


def _planning_verifier_calls(run: Run, records: PlanRecords) -> float:
    """Returns how often planning asked the true dynamics whether the goal is reached, per problem; grading is extra."""
    num_nodes, num_moves = float(records.num_nodes_generated.mean()), float(records.plan_lengths.mean())
    return run.experiment.agent.planning_verifier_calls(num_nodes, num_moves)


def _beside(name: str, records: PlanRecords) -> dict[str, Any]:
    """Returns the figures of another way to plan for the same problems."""
    known = records.optimal_lengths >= 0
    return {
        f"{name}_solved_fraction": records.solved.mean(),
        f"{name}_mean_plan_length": _mean(records.plan_lengths, records.solved),
        f"{name}_mean_optimal_length": _mean(records.optimal_lengths, records.solved & known),
        f"{name}_mean_nodes_generated": records.num_nodes_generated.mean(),
    }


def false_claim_fraction(records: PlanRecords) -> float:
    """Returns the share of the plans said to reach the goal that the verifier rejects; 0 if none is said to.

    The share of claims, not of problems: it tells how far a claim can be trusted, and a planner that hardly claims
    anything cannot hide false claims behind it. Multiply by `claimed_fraction` for the share of all problems.
    """
    num_claims = int(records.claims_solved.sum())
    return float((records.claims_solved & ~records.solved).sum() / max(num_claims, 1))


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    return float(values[where].mean()) if where.any() else math.nan


def _json_number(value: Any) -> Any:
    """NaN, which JSON does not have, becomes null."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def require_writable(folder: Path) -> None:
    """Makes a folder for results, before minutes are spent on them.

    Raises:
      ValueError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write results to {folder} ({error.strerror}); choose --output-dir") from error


def write_report(report: Report, folder: Path) -> Path:
    """Writes summary.json and records.jsonl; returns the path of the summary."""
    lines = [json.dumps(_record_json(report, index)) for index in range(len(report.records.solved))]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "records.jsonl", ("\n".join(lines) + "\n").encode())
    write_json_atomic(folder / "summary.json", report.summary)
    return folder / "summary.json"


def _record_json(report: Report, index: int) -> dict[str, Any]:
    """Returns what records.jsonl says of one problem."""
    records, problems, evidence = report.records, report.problems, report.evidence
    said = answer(bool(records.claims_solved[index]), evidence.refutations[index])
    length, optimal = int(records.plan_lengths[index]), int(records.optimal_lengths[index])
    return {
        "start": problems.start[index].tolist(),
        "goal": problems.goal.tokens[index].tolist(),
        "actions": records.actions[index, :length].tolist(),
        "predicted_costs": [round(float(cost), 4) for cost in records.predicted_costs[index, : length + 1]],
        "claims_solved": bool(records.claims_solved[index]),
        "solved": bool(records.solved[index]),
        "optimal_length": optimal if optimal >= 0 else None,
        "num_nodes_generated": int(records.num_nodes_generated[index]),
        "answer": said,
        "written_plan": evidence.written_plans[index],
        "objection": evidence.objections[index],
        "refutation": evidence.refutations[index],
    }
