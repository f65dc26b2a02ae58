"""What closes the model gap of the 8-puzzle: latents and remedies side by side: `python -m benchmarks.model_gap`.

A planner of thousands of nodes looks for the errors of its world model. Each row changes one thing; everything else
(data, cost learning but its length, planner, problems) is as in configs/sliding_tiles.py. Writes JSON and Markdown.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jepa.agents.latent_planner import LatentPlanner
from jepa.config import Experiment, load_config
from jepa.encoders.base import Encoder
from jepa.encoders.linear import LinearEncoder
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.evaluation import exact_plan_function, load_problems, solve
from jepa.latents import worst_slot_difference
from jepa.mesh import data_mesh
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.predictors.base import Predictor
from jepa.predictors.mlp import MLPPredictor
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NearestCode, NoReidentification, ReencodedReadout, Reidentification
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.predictors.slot_trunk import TrunkPredictor
from jepa.run_config import read_config
from jepa.run_log import provenance, read_jsonl, write_json_atomic
from jepa.runs import load_run, train
from jepa.world_model import WorldModelModule

NUM_COST_UPDATES = 1500
"""Fewer than the config has, to keep the comparison short; the ceiling shows what that costs."""
FLAT_ENCODER = LinearEncoder(latent_width=128)
FLAT_LOSS = SIGReg(weight=5.0)
"""Below 5 a flat latent of this board collapses in part: at 0.1 to an effective rank of 8 to 63, at 1 to 50, and the
legal actions cannot be read from it. An encoder with hidden layers reached no lower error in 1.5 times the time."""
FLAT_UPDATES = 2000
"""A flat latent needs longer than slots do (800) before its error no longer falls."""
SLOT_LOSS = SIGReg(weight=0.01)


def _variant(
    base: Experiment,
    encoder: Encoder,
    predictor: Predictor,
    reidentification: Reidentification,
    noise: float = 0.3,
    horizon: int = 2,
    num_updates: int | None = None,
) -> Experiment:
    flat = not isinstance(encoder, TokenSlotsEncoder)
    cost_training = dataclasses.replace(base.agent.cost_training, num_updates=NUM_COST_UPDATES)
    world_model = dataclasses.replace(
        base.agent.world_model,
        encoder=encoder,
        predictor=predictor,
        prediction=RolloutPrediction(weight=1.0 if flat else 10.0, horizon=horizon, input_noise=noise),
        regularizer=FLAT_LOSS if flat else SLOT_LOSS,
        reidentification=reidentification,
    )
    schedule = base.agent.world_model_training
    if flat or num_updates is not None:
        schedule = dataclasses.replace(schedule, num_updates=num_updates or FLAT_UPDATES)
    agent = dataclasses.replace(
        base.agent, world_model=world_model, world_model_training=schedule, cost_training=cost_training
    )
    return dataclasses.replace(base, agent=agent)


def variants(base: Experiment) -> Mapping[str, Experiment]:
    """Returns the rows of the comparison by name."""
    make = functools.partial(_variant, base)
    none, code, readout = NoReidentification(), NearestCode(), ReencodedReadout()
    slots, mixer = TokenSlotsEncoder(slot_width=16), SlotMixerPredictor()
    return {
        "slots, mixer, noise, nearest code (shipped)": make(slots, mixer, code),
        "slots, mixer, noise": make(slots, mixer, none),
        "slots, mixer": make(slots, mixer, none, noise=0.0, horizon=1),
        "slots, mixer, trained as long as flat": make(
            slots, mixer, none, noise=0.0, horizon=1, num_updates=FLAT_UPDATES
        ),
        "flat, MLP": make(FLAT_ENCODER, MLPPredictor(), none, noise=0.0, horizon=1),
        "flat, MLP, noise and 3-step rollouts": make(FLAT_ENCODER, MLPPredictor(), none, noise=0.6, horizon=3),
        "flat, MLP, noise, re-encoded read-out": make(FLAT_ENCODER, MLPPredictor(), readout),
        "slots, MLP, noise, nearest code": make(slots, MLPPredictor(), code),
        "slots, attention, noise, nearest code": make(slots, TrunkPredictor(), code),
        "flat, operators, noise": make(FLAT_ENCODER, OperatorPredictor(hidden_width=256), none),
    }


def main(
    config: Path = Path("configs/sliding_tiles.py"),
    seeds: tuple[int, ...] = (0,),
    num_problems: int = 300,
    only: tuple[str, ...] = (),
    output: Path = Path("benchmarks/results/model_gap.json"),
) -> None:
    """Trains and grades every variant, or takes up finished ones, and writes the table.

    Args:
      config: the experiment that the variants change.
      seeds: seeds of training, data included.
      num_problems: test problems.
      only: names of rows to make anew, the others staying as they are in the output file; empty for all.
      output: JSON file to write.
    """
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"] if only and output.exists() else []
    for name, variant in variants(load_config(config)).items():
        for seed in seeds:
            if only and name not in only:
                continue
            folder = Path("runs/model_gap") / name.replace(", ", "-").replace(" ", "_") / f"seed{seed}"
            train(dataclasses.replace(variant, seed=seed), folder, say=print)
            rows = [row for row in rows if (row["variant"], row["seed"]) != (name, seed)]
            rows.append({"variant": name, "seed": seed, "provenance": provenance()} | _grade(folder, num_problems))
            print(rows[-1], flush=True)
            _write(rows, output)


def _write(rows: list[dict[str, Any]], output: Path) -> None:
    write_json_atomic(output, {"command": "python -m benchmarks.model_gap", "rows": rows})
    output.with_suffix(".md").write_text(_markdown(rows), encoding="utf-8")


def _grade(folder: Path, num_problems: int) -> dict[str, Any]:
    run = load_run(folder, read_config(folder))
    experiment, env, agent = run.experiment, run.experiment.env, run.experiment.agent
    evaluation = dataclasses.replace(experiment.evaluation, num_problems=num_problems)
    evaluation = evaluation.batched(agent.planner.nodes_per_ply(env.num_actions))
    problems, mesh = load_problems(env, evaluation), data_mesh()
    records = solve(env, agent.plan_function(env), run.params, problems, evaluation, mesh)
    ceiling = solve(env, exact_plan_function(env, agent), run.params, problems, evaluation, mesh)
    return {
        "wrong_steps": _wrong_steps(env, agent, agent.modules(env, run.params)[0], seed=1),
        "effective_rank": _last_rank(folder),
        "solved_fraction": float(records.solved.mean()),
        "exact_model_solved_fraction": float(ceiling.solved.mean()),
        "false_claim_fraction": float((records.claims_solved & ~records.solved).mean()),
        "mean_excess_length": float((records.plan_lengths - records.optimal_lengths)[records.solved].mean())
        if records.solved.any()
        else None,
        "seconds_per_problem": records.seconds_per_problem,
        "training_seconds": run.training_seconds,
    }


def _last_rank(folder: Path) -> float:
    """Returns the effective rank of the latents at the end of the world model's training."""
    return [row["effective_rank"] for row in read_jsonl(folder / "metrics.jsonl") if "effective_rank" in row][-1]


def _wrong_steps(env: Any, agent: LatentPlanner, world_model: WorldModelModule, seed: int) -> float:
    """Returns the share of legal moves from 20,000 random states whose prediction is not taken for the true state."""

    @jax.jit
    def judge(keys):
        states = jax.vmap(env.sample_problem)(keys).start
        successors = jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))(
            states, jnp.arange(env.num_actions)
        )
        predicted = world_model.predict_all(world_model.encode(states))
        difference = worst_slot_difference(predicted, world_model.encode(successors), world_model.encoder.num_slots)
        legal = jax.vmap(env.legal_actions)(states)
        return ((difference >= agent.planner.same_state_tolerance) & legal).sum(), legal.sum()

    counts = [judge(keys) for keys in jax.random.split(jax.random.key(seed), (20, 1000))]
    wrong, total = np.sum(counts, axis=0)
    return float(wrong / total)


def _markdown(rows: list[dict]) -> str:
    lines = [
        "Made by `python -m benchmarks.model_gap`; hardware and versions are in the JSON file of the same name.",
        "",
        "| latents and remedies | seed | effective rank | wrong single steps | solved, learned model | "
        "solved, exact model | false claims | moves above optimum | training (s) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        excess = "" if row["mean_excess_length"] is None else f"{row['mean_excess_length']:.2f}"
        lines.append(
            f"| {row['variant']} | {row['seed']} | {row['effective_rank']:.0f} | {row['wrong_steps']:.3%} | "
            f"{row['solved_fraction']:.1%} | "
            f"{row['exact_model_solved_fraction']:.1%} | {row['false_claim_fraction']:.1%} | {excess} | "
            f"{row['training_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
