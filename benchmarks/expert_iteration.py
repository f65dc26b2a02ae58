"""Measures what rounds of expert iteration gain: `python -m benchmarks.expert_iteration [--seeds 0 1 2]`.

After some of the rounds, and before the first, the policy is graded on the same test problems, with the search that the
rounds themselves make: what is gained is the policy's, not a larger search's.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import tyro

from jepa.agents.expert_iteration import ExpertIteration
from jepa.config import load_config
from jepa.evaluation import Evaluation, load_problems, solve
from jepa.mesh import data_mesh
from jepa.metrics import wilson_interval
from jepa.run_log import provenance, write_json_atomic
from jepa.training import Stage
from jepa.types import Problem

COMMAND = "python -m benchmarks.expert_iteration"


def main(
    config: Path = Path("configs/comparison/sliding_tiles_expert_iteration.py"),
    seeds: tuple[int, ...] = (0, 1, 2),
    num_transitions: int = 4_000_000,
    graded_rounds: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32, 48),
    num_problems: int = 200,
    output: Path = Path("benchmarks/results/expert_iteration.json"),
) -> None:
    """Trains, grades, and writes how many problems are solved after which round.

    Args:
      config: config file of an experiment with expert iteration.
      seeds: seeds of training.
      num_transitions: moves on the true dynamics, those of its searches, which say how many rounds there are.
      graded_rounds: rounds after which the policy is graded; those beyond the last are left out.
      num_problems: test problems, the same for all rounds and seeds.
      output: JSON file to write.
    """
    experiment = load_config(config)
    if not isinstance(experiment.agent, ExpertIteration):
        raise SystemExit(f"expected a config of ExpertIteration; the agent of {config} is {experiment.agent!r}")
    agent, env, mesh = experiment.agent.within(num_transitions), experiment.env, data_mesh()
    problems = load_problems(env, Evaluation(num_problems=num_problems))
    rows = []
    for seed in seeds:
        # It looks at no recorded moves.
        stage = agent.stages(env, (), jax.random.key(seed), mesh)[0]
        for number, solved, figures in _graded_rounds(agent, stage, problems, graded_rounds):
            low, high = wilson_interval(solved, num_problems)
            row = {"seed": seed, "round": number, "transitions": number * agent.moves_per_round}
            row |= {"solved_fraction": solved / num_problems, "solved_low": low, "solved_high": high} | figures
            rows.append(row)
            print(row, flush=True)
        sizes = {"config": config.stem, "num_problems": num_problems, "num_rounds": agent.training.num_updates}
        write_json_atomic(output, {"command": COMMAND, **sizes, "rows": rows, "provenance": provenance()})


def _graded_rounds(agent: ExpertIteration, stage: Stage, problems: Problem, wanted: Sequence[int]):
    """Yields the rounds that are to be graded, the number of solved problems, and what the last round logged."""
    env, first = stage.env, stage.init()
    plan_function = dataclasses.replace(agent, planner=agent.practice).plan_function(env)
    grading = Evaluation(num_problems=len(problems.start), problems_per_batch=50)

    def solved(params) -> int:
        records = solve(env, plan_function, {stage.name: params}, problems, grading, stage.mesh)
        return int(records.solved.sum())

    if 0 in wanted:
        yield 0, solved(first.params), {}
    for state, figures in stage.run(first, {}):
        if (number := int(state.num_updates)) in wanted:
            shares = {name: figures[name] for name in ("solved_problems", "nodes_per_problem")}
            yield number, solved(state.params), shares


if __name__ == "__main__":
    tyro.cli(main)
