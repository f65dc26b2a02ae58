"""Measures speed and what fraction of the machine's matrix-product rate it is: `make bench`.

For every config: updates of both stages, planning and environment steps, at the shipped sizes and as they grow. The
bound is the rate of a large matrix product, measured anew beside each figure because machines are shared and drift;
operations are those of matrix products alone (`operations.py`), so the fractions err on the low side.

Planning is timed with the trained runs of the configs, which are trained first where there are none.

    python -m benchmarks.run [--configs configs/pocket_cube.py ...] [--output benchmarks/results/speed.json]
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks.operations import matmul_operations
from jepa.agents.latent_planner import planning_model
from jepa.config import Experiment, load_config
from jepa.dataset import collect_walks
from jepa.envs.base import Env
from jepa.latents import normalize_slots
from jepa.mesh import data_mesh
from jepa.run_log import provenance, write_json_atomic
from jepa.runs import Run, load_run, train
from jepa.training import Stage

BOUND_SIZE = 2048
"""Rows of the square matrices whose product gives the bound."""


def main(
    configs: tuple[Path, ...] = (Path("configs/pocket_cube.py"), Path("configs/sliding_tiles.py")),
    output: Path = Path("benchmarks/results/speed.json"),
    repeats: int = 5,
) -> None:
    """Runs all measurements and writes them.

    Args:
      configs: config files to measure.
      output: JSON file to write.
      repeats: timed calls of each measurement; the median counts.
    """
    rows = []
    for path in configs:
        experiment = load_config(path)
        folder = Path("runs") / path.stem / f"seed{experiment.seed}"
        train(experiment, folder, say=print)
        for row in _measurements(load_run(folder, experiment), repeats):
            rows.append({"config": path.stem} | row)
            print("  ".join(f"{name}={_shown(value)}" for name, value in rows[-1].items()), flush=True)
    write_json_atomic(output, {"command": "python -m benchmarks.run", "provenance": provenance(), "rows": rows})
    print(f"Written to {output}")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _measurements(run: Run, repeats: int):
    """Yields a row per measurement: first at the shipped sizes, then one size changed."""
    experiment = run.experiment
    agent = experiment.agent
    shipped = agent.world_model_training.batch_size
    for batch_size in (shipped, shipped * 4):
        yield from _stage_rows(_with_batch(experiment, batch_size), 0, {"batch_size": batch_size}, repeats)
    shipped = agent.cost_training.batch_size
    hidden = agent.cost.head.hidden_width
    yield from _stage_rows(experiment, 1, {"batch_size": shipped, "hidden_width": hidden}, repeats)
    for width in (hidden * 2,):
        cost = dataclasses.replace(agent.cost, head=dataclasses.replace(agent.cost.head, hidden_width=width))
        wider = dataclasses.replace(experiment, agent=dataclasses.replace(agent, cost=cost))
        yield from _stage_rows(wider, 1, {"batch_size": shipped, "hidden_width": width}, repeats)
    for width in (16, 64, 256, 1024):
        yield _planner_row(run, width, repeats)
    yield _environment_row(experiment.env, repeats)


def _with_batch(experiment: Experiment, batch_size: int) -> Experiment:
    schedule = dataclasses.replace(experiment.agent.world_model_training, batch_size=batch_size)
    return dataclasses.replace(experiment, agent=dataclasses.replace(experiment.agent, world_model_training=schedule))


def _stage_rows(experiment: Experiment, index: int, sizes: dict[str, int], repeats: int):
    """Times one stage's compiled call."""
    trajectories = collect_walks(experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed)
    stages = experiment.agent.stages(experiment.env, trajectories, jax.random.key(0), data_mesh())
    params = {stage.name: stage.init().params for stage in stages}
    stage: Stage = stages[index]
    resources, call = stage.resources(params), stage.compile()
    state = jax.device_put(stage.init(), NamedSharding(stage.mesh, PartitionSpec()))
    operations = matmul_operations(lambda state: call(state, resources), state)

    def run() -> None:
        nonlocal state
        state, losses = call(state, resources)
        jax.block_until_ready(losses)

    timing = _timed(run, operations, repeats)
    num_updates = stage.schedule.updates_per_call
    yield {
        "what": f"{stage.name} updates",
        **sizes,
        "samples_per_second": stage.schedule.batch_size * num_updates / timing["seconds"],
        "milliseconds_per_update": 1e3 * timing["seconds"] / num_updates,
        **timing,
        "num_compilations": call._cache_size(),
    }


def _planner_row(run: Run, width: int, repeats: int) -> dict[str, Any]:
    """Times planning that never ends early: the trained model, and goals that are no state's latents."""
    env, agent = run.experiment.env, run.experiment.agent
    planner = dataclasses.replace(agent.planner, width=width)
    num_problems = run.experiment.evaluation.batched(planner.nodes_per_ply(env.num_actions)).problems_per_batch
    problems = jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(1), num_problems))

    @jax.jit
    def plan(params, start):
        world_model, cost = agent.modules(env, params)
        latents = world_model.encode(start)
        goals = normalize_slots(jax.random.normal(jax.random.key(2), latents.shape), world_model.encoder.num_slots)
        return planner.plan(planning_model(world_model, cost), latents, goals[:, None], jax.random.key(0))

    arguments = (run.params, problems.start)
    operations = matmul_operations(plan, *arguments, while_rounds=planner.horizon)
    plans = jax.block_until_ready(plan(*arguments))
    timing = _timed(lambda: jax.block_until_ready(plan(*arguments)), operations, repeats)
    return {
        "what": "planning",
        "beam_width": width,
        "num_problems": num_problems,
        "nodes_per_second": int(plans.num_nodes_generated.sum()) / timing["seconds"],
        "microseconds_per_width_and_ply": 1e6 * timing["seconds"] / (num_problems * width * planner.horizon),
        **timing,
        "num_compilations": plan._cache_size(),
    }


def _environment_row(env: Env, repeats: int, num_envs: int = 4096, num_steps: int = 256) -> dict[str, Any]:
    """Times random moves with a new problem wherever one is solved; no matrix products are involved."""

    @jax.jit
    def run(key):
        problems = jax.vmap(env.sample_problem)(jax.random.split(key, num_envs))

        def step(problems, number):
            action_key, reset_key = jax.random.split(jax.random.fold_in(key, number))
            actions = jax.random.randint(action_key, (num_envs,), 0, env.num_actions)
            states = jax.vmap(env.step)(problems.start, actions)
            solved = jax.vmap(env.is_solved)(states, problems.goal)
            fresh = jax.vmap(env.sample_problem)(jax.random.split(reset_key, num_envs))
            return dataclasses.replace(problems, start=jnp.where(solved[:, None], fresh.start, states)), solved.sum()

        return jax.lax.scan(step, problems, jnp.arange(num_steps))

    key = jax.random.key(0)
    jax.block_until_ready(run(key))
    timing = _timed(lambda: jax.block_until_ready(run(key)), 0, repeats)
    return {
        "what": "environment steps with reset",
        "num_envs": num_envs,
        "steps_per_second": num_envs * num_steps / timing["seconds"],
        "seconds": timing["seconds"],
    }


def _timed(run: Callable[[], None], operations: int, repeats: int) -> dict[str, float]:
    """Returns the median time of a call and its fraction of the matrix-product bound, measured side by side."""
    run()
    seconds, rates = [], []
    for _ in range(repeats):
        rates.append(_matmul_rate())
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    fractions = [operations / one / rate for one, rate in zip(seconds, rates, strict=True)]
    return {
        "seconds": statistics.median(seconds),
        "gigaflops": operations / statistics.median(seconds) / 1e9,
        "bound_gigaflops": statistics.median(rates) / 1e9,
        "fraction_of_bound": statistics.median(fractions),
    }


def _matmul_rate() -> float:
    """Returns floating-point operations per second of a large float32 matrix product."""
    matrix = jnp.ones((BOUND_SIZE, BOUND_SIZE), jnp.float32)
    jax.block_until_ready(_product(matrix))
    began = time.perf_counter()
    jax.block_until_ready(_product(matrix))
    return 2 * BOUND_SIZE**3 / (time.perf_counter() - began)


_product = jax.jit(lambda matrix: matrix @ matrix)


if __name__ == "__main__":
    tyro.cli(main)
