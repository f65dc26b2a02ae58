"""A run folder: train into it, resume it, load it.

runs/<config>/seed<k>/
config.json        the resolved experiment
provenance.json    versions, commit and hardware of the last start
metrics.jsonl      one row per compiled call of updates
tensorboard/       the same as TensorBoard events
checkpoints/       all stages' states, verified by digests when read
summary.json, records.jsonl   written by eval.py
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.checkpoint import Checkpoints, run_lock
from jepa.config import Experiment, differences, from_json, to_json
from jepa.dataset import collect, load_dataset
from jepa.run_log import RunLog, provenance, write_json_atomic
from jepa.training import Stage, TrainState, data_mesh

DATA_ROOT = Path("data/recorded")
"""Where recorded moves are kept, relative to the working directory."""
SECONDS_BETWEEN_CHECKPOINTS = 30.0
_GRADING_ONLY = ("planner", "num_problems", "problems", "problem_seed", "problems_per_batch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A trained run."""

    experiment: Experiment
    """The resolved experiment."""
    params: Mapping[str, Any]
    """Trained parameters by name of the stage."""
    training_seconds: float
    """Time spent in updates, compilation included, over all starts of the run."""


def train(experiment: Experiment, folder: Path, say: Callable[[str], None]) -> None:
    """Trains into a folder, or continues there, or says that it is complete.

    Args:
      experiment: what to train.
      folder: the run folder; a run of another experiment in it is refused, never overwritten.
      say: receives progress in sentences.

    Raises:
      ValueError: the folder holds another experiment or is in use, data or checkpoints are damaged, or the loss
        is not finite.
    """
    resolved = to_json(experiment)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder for the run, but {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    with run_lock(folder):
        if (folder / "config.json").exists():
            require_same_training(read_config(folder), experiment, folder)
        write_json_atomic(folder / "config.json", resolved)
        write_json_atomic(folder / "provenance.json", provenance())
        data = collect(experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed, DATA_ROOT)
        say(f"{experiment.num_transitions:,} recorded moves without rewards: {data}")
        trajectories = load_dataset(data, experiment.env)
        key = jax.random.key(experiment.seed)
        stages = experiment.agent.stages(experiment.env, trajectories, key, data_mesh())
        with Checkpoints(folder / "checkpoints") as checkpoints:
            _fit(stages, folder, checkpoints, say)


def _fit(stages: list[Stage], folder: Path, checkpoints: Checkpoints, say: Callable[[str], None]) -> None:
    """Runs all stages from where the newest checkpoint stands."""
    states, seconds = {stage.name: stage.init() for stage in stages}, 0.0
    total = sum(stage.schedule.num_updates for stage in stages)
    if checkpoints.latest_step is not None:
        found = checkpoints.restore(jax.eval_shape(lambda: states))
        states, seconds = found.state, found.metadata["training_seconds"]
        if found.step == total:
            say(f"The run is complete: {total:,} updates in {seconds:.0f} s. Nothing to do.")
            return
        say(f"Resuming after {found.step:,} of {total:,} updates")

    for stage in stages:
        seconds = _fit_stage(stage, states, folder, checkpoints, seconds)
    checkpoints.wait()
    say(f"Trained {total:,} updates in {seconds:.0f} s")


def _fit_stage(
    stage: Stage, states: dict[str, TrainState], folder: Path, checkpoints: Checkpoints, seconds: float
) -> float:
    """Runs one stage to its end, changing its entry in `states`; returns the seconds of training so far."""
    schedule = stage.schedule
    done = int(states[stage.name].num_updates)
    if done == schedule.num_updates:
        return seconds
    params = {name: state.params for name, state in states.items()}
    last_saved = began = time.monotonic()
    with RunLog(
        folder,
        stage=stage.name,
        num_updates=schedule.num_updates,
        batch_size=schedule.batch_size,
        num_updates_done=done,
    ) as log:
        for state, losses in stage.run(states[stage.name], params):
            states[stage.name] = state
            _require_finite(losses, stage.name, int(state.num_updates))
            log.write(int(state.num_updates), losses)
            finished = int(state.num_updates) == schedule.num_updates
            if finished or time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS:
                last_saved = time.monotonic()
                elapsed = seconds + last_saved - began
                _save(checkpoints, states, elapsed)
    return seconds + time.monotonic() - began


def _save(checkpoints: Checkpoints, states: dict[str, TrainState], seconds: float) -> None:
    step = sum(int(state.num_updates) for state in states.values())
    # The next call consumes the arrays while the checkpoint is still being written: save a copy.
    copies = jax.tree.map(lambda leaf: np.array(leaf, copy=True), states)
    checkpoints.save(step, copies, {"training_seconds": seconds})


def _require_finite(losses: Mapping[str, float], stage: str, num_updates: int) -> None:
    for name, value in losses.items():
        if not np.isfinite(value):
            raise ValueError(
                f"{name} of stage {stage} became {value} within the updates before {num_updates}; the last "
                f"checkpoint is good. Lower the learning rate and train into another folder"
            )


def require_same_training(old: Experiment, new: Experiment, folder: Path) -> None:
    """Refuses to continue another experiment; planner and test problems may differ, they do not train."""
    changed = differences(old, new)
    changed = {name: change for name, change in changed.items() if name.split(".")[0] not in _GRADING_ONLY}
    if changed:
        listed = "\n".join(f"  {name}: {change}" for name, change in changed.items())
        raise ValueError(
            f"{folder} holds a run of another experiment:\n{listed}\n"
            f"Choose another folder with --run-dir, or use the values of that run"
        )


def read_config(folder: Path) -> Experiment:
    """Returns the experiment of a run folder.

    Raises:
      ValueError: the folder holds no run, or its config.json is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"expected a run folder, but there is no {path}; train one with `python train.py CONFIG`")
    try:
        experiment = from_json(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path} is damaged: it holds a {type(experiment).__name__}, not an Experiment")
    return experiment


def load_run(folder: Path) -> Run:
    """Returns the trained parameters of a run folder.

    Raises:
      ValueError: the folder holds no complete run, or nothing undamaged.
    """
    experiment = read_config(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.latest_step is None:
        raise ValueError(f"{folder} has no checkpoint yet; train it with `python train.py`")
    stages = experiment.agent.stages(experiment.env, _no_trajectories(experiment), jax.random.key(0), data_mesh())
    found = checkpoints.restore(jax.eval_shape(lambda: {stage.name: stage.init() for stage in stages}))
    total = sum(stage.schedule.num_updates for stage in stages)
    if found.step < total:
        raise ValueError(
            f"{folder} is trained only to {found.step:,} of {total:,} updates; the same `python train.py` command "
            f"continues it"
        )
    return Run(
        experiment=experiment,
        params={name: state.params for name, state in found.state.items()},
        training_seconds=found.metadata["training_seconds"],
    )


def _no_trajectories(experiment: Experiment) -> Any:
    """Trajectories of length zero: loading a run reads no data."""
    from jepa.types import Trajectories

    env = experiment.env
    return Trajectories(
        states=np.zeros((0, 1, env.num_tokens), np.int32),
        actions=np.zeros((0, 0), np.int32),
        legal_actions=np.zeros((0, 1, env.num_actions), bool),
    )
