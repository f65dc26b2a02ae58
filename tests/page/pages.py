"""Pages of every config without any training: random parameters, and walks as long as a plan may become."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jepa.answers import Evidence
from jepa.config import Experiment, shrink
from jepa.evaluation import Evaluation, PlanRecords, load_problems
from jepa.page.page import write_page
from jepa.report import Report
from jepa.runs import Run, untrained_states
from jepa.types import Problem

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
NARROW = dict(hidden_width=16, num_blocks=1, num_transitions=64)


def untrained(experiment: Experiment) -> Run:
    """A run whose parameters are random: what it imagines is wrong, and the page must say so."""
    generator = np.random.default_rng(0)
    params = {
        stage: jax.tree.map(lambda leaf: jnp.asarray(0.3 * generator.normal(size=leaf.shape), leaf.dtype), state.params)
        for stage, state in untrained_states(experiment).items()
    }
    return run_of(experiment, params)


def run_of(experiment: Experiment, params: Mapping[str, Any]) -> Run:
    """A run that says that it was trained."""
    return Run(
        experiment=experiment,
        params=params,
        training_seconds=1.0,
        num_gradient_samples=1,
        num_transitions=1,
        num_verifier_calls=0,
        alarms={},
    )


def walks(experiment: Experiment, problems: Problem, length: int) -> PlanRecords:
    """Plans of legal actions drawn at random, as long as possible."""
    env, count = experiment.env, len(problems.start)

    def walk(start, key):
        def move(state, key):
            legal = env.legal_actions(state)
            action = jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf))
            return env.step(state, action), jnp.where(legal.any(), action, -1)

        return jax.lax.scan(move, start, jax.random.split(key, length))[1]

    actions = np.asarray(jax.jit(jax.vmap(walk))(problems.start, jax.random.split(jax.random.key(0), count)))
    return PlanRecords(
        actions=actions,
        predicted_costs=np.random.default_rng(0).uniform(0, 50, (count, length + 1)),
        claims_solved=np.arange(count) % 2 == 0,
        solved=np.zeros(count, bool),
        plan_lengths=(actions >= 0).sum(axis=1),
        optimal_lengths=np.full(count, -1),
        num_nodes_generated=np.full(count, 1_000),
        seconds_per_problem=0.5,
    )


def report_of(problems: Problem, records: PlanRecords) -> Report:
    summary = {
        "method": "LatentPlanner", "num_problems": len(problems.start), "solved_fraction": 0.25,
        "solved_fraction_95_low": 0.05, "solved_fraction_95_high": 0.7, "false_claim_fraction": 0.5,
        "mean_plan_length": 5.0, "mean_optimal_length": None, "random_solved_fraction": 0.0,
        "mean_nodes_generated": 25.0, "seconds_per_problem": 0.5, "training_seconds": 1.0, "num_transitions": 10,
        "exact_model_solved_fraction": 1.0,
    }  # fmt: skip
    nothing = (None,) * len(problems.start)
    evidence = Evidence(refutations=nothing, written_plans=nothing, objections=nothing)
    return Report(summary=summary, problems=problems, records=records, evidence=evidence)


def write_untrained_page(experiment: Experiment, path: Path, num_problems: int) -> None:
    """Writes a page of as many problems, each with a plan of the planner's full horizon."""
    width = min(getattr(experiment.agent.planner, "width", 64), 64)
    small = shrink(experiment, **NARROW, width=width)
    problems = load_problems(small.env, Evaluation(num_problems=num_problems))
    records = walks(small, problems, small.agent.planner.horizon)
    # Half of the problems would do for failures alone.
    write_page(untrained(small), report_of(problems, records), path, num_problems=2 * num_problems)
    data = json.loads(path.read_text("utf-8").partition('id="data">')[2].partition("</script>")[0])
    assert len(data["stories"]) == num_problems
