"""A run folder: train into it, resume it, load it.

What is in it:

    runs/<config>/seed<k>/
    config.json        the resolved experiment
    provenance.json    versions, commit and hardware of the last start that trained, and of those before it
    metrics.jsonl      one row per compiled call of updates
    tensorboard/       the same as TensorBoard events
    checkpoints/       all stages' states, verified by digests when read
    summary.json, records.jsonl   written by eval.py
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.alarms import ALARMS, read_alarms
from jepa.checkpoint import Checkpoints
from jepa.config import Experiment, differences, to_json
from jepa.dataset import collect, load_dataset
from jepa.fitting import fit
from jepa.mesh import data_mesh
from jepa.processes import Watchdog, is_first, on_first, require_same
from jepa.run_config import changed_training, listed, read_config
from jepa.run_folder import make_run_folder, remove_leftovers, run_lock, write_provenance
from jepa.run_log import write_json_atomic
from jepa.training import Stage, TrainState, WorldModelStage
from jepa.types import Trajectories
from jepa.world_model_reuse import copy_logs, read_world_model

DATA_ROOT = Path("data/recorded")
"""Where recorded moves are kept, relative to the working directory."""
SECONDS_BETWEEN_CHECKPOINTS = 30.0
"""How much training a killed process loses at most, if the user wants nothing else; the end of a stage is saved too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A trained run."""

    experiment: Experiment
    """The resolved experiment."""
    params: Mapping[str, Any]
    """Trained parameters by name of the stage."""
    training_seconds: float
    """Time spent in updates, compilation included, over all starts of the run."""
    num_gradient_samples: int
    """Samples in all batches of all stages."""
    num_transitions: int
    """Moves that it has seen: recorded ones, or those that it made while it learned."""
    num_verifier_calls: int
    """How often training asked the true dynamics whether a goal is reached."""
    alarms: Mapping[str, bool]
    """Which alarms stood at the end of their stage; empty if the run has lost its metrics.jsonl."""


def train(
    experiment: Experiment,
    folder: Path,
    say: Callable[[str], None],
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
    watchdog_seconds: float | None = None,
    world_model_from: Path | None = None,
) -> None:
    """Trains into a folder, or continues there, or says that it is complete.

    Several processes that have found each other all call this with the same arguments, on a file system that they
    share.

    Args:
      experiment: what to train.
      folder: the run folder; a run of another experiment in it is refused, never overwritten.
      say: receives progress in sentences, in process 0 alone.
      seconds_between_checkpoints: how much training a killed process loses at most; changes no result.
      watchdog_seconds: ends the process after so long without progress; 0 for never, None for the usual.
      world_model_from: folder of a run with the same world model, which is taken over if nothing is trained yet.

    Raises:
      ValueError: the folder holds another experiment, is in use or cannot be written, data or checkpoints are
        damaged, processes were given different experiments, the run in `world_model_from` does not have what is to be
        taken over, or the loss is not finite.
    """
    if not is_first():
        say = _say_nothing
    require_same("experiment", json.dumps(to_json(experiment), sort_keys=True))
    with (
        Watchdog(watchdog_seconds) as watchdog,
        contextlib.ExitStack() as held,
        Checkpoints(folder / "checkpoints") as checkpoints,
    ):
        if changed := on_first(lambda: _claim(experiment, folder, checkpoints, held)):
            say(f"Other values than at the last start, which change nothing in training:\n{listed(changed)}")
        stages = _stages(experiment, _no_trajectories(experiment))
        states, metadata, done = _states(stages, checkpoints)
        if source := None if done else world_model_from:
            states, metadata, done = _take_world_model(experiment, states, source)
            say(f"Takes over the world model of {source}")
        total = sum(stage.schedule.num_updates for stage in stages)
        if done < total:
            trajectories = _trajectories(experiment, stages, metadata.get("data_sha256"), say)
            on_first(lambda: _mark(experiment, folder, done, changed, source))
            if done:
                say(f"Resuming after {done:,} of {total:,} updates")
            metadata = {"training_seconds": 0.0, "data_sha256": _sha256(trajectories)} | metadata
            require_same("recorded moves", metadata["data_sha256"])
            stages = _stages(experiment, trajectories)
            watchdog.hear()
            seconds = fit(stages, states, folder, checkpoints, metadata, seconds_between_checkpoints, watchdog)
            say(f"Trained {total:,} updates in {seconds:.0f} s")
        else:
            # Its planner may be another one.
            on_first(lambda: write_json_atomic(folder / "config.json", to_json(experiment)))
            seconds = metadata.get("training_seconds", 0.0)  # Nothing was saved if there is nothing to learn.
            say(f"The run is complete: {total:,} updates in {seconds:.0f} s. Nothing to do")
        for name in [name for name, stands in read_alarms(folder).items() if stands]:
            say(f"WARNING: {name}: {ALARMS.get(name, 'it stands at the end of its stage')}")


def _say_nothing(text: str) -> None:
    """What processes other than the first say."""


def _claim(
    experiment: Experiment, folder: Path, checkpoints: Checkpoints, held: contextlib.ExitStack
) -> dict[str, str]:
    """Makes a run folder and keeps others out of it, or refuses it; returns what differs from the run in it."""
    make_run_folder(folder)
    held.enter_context(run_lock(folder))
    changed = _require_free(experiment, folder, checkpoints)
    remove_leftovers(folder)
    return changed


def _mark(
    experiment: Experiment, folder: Path, num_updates_done: int, changed: Mapping[str, str] | None, source: Path | None
) -> None:
    """Says in the folder what is trained, and with what; `source` is the run whose world model is taken over."""
    if source is not None:
        copy_logs(source, folder)
    write_json_atomic(folder / "config.json", to_json(experiment))
    write_provenance(folder, num_updates_done, changed or {})


def _require_free(experiment: Experiment, folder: Path, checkpoints: Checkpoints) -> dict[str, str]:
    """Refuses a folder with results of another experiment; returns what differs from them without harm."""
    has_results = checkpoints.latest_step is not None or (folder / "summary.json").exists()
    if not has_results:
        return {}
    there = read_config(folder)
    if changed := changed_training(there, experiment):
        raise ValueError(
            f"{folder} holds a run of another experiment:\n{listed(changed)}\n"
            f"Choose another folder with --run-dir, or use the values of that run"
        )
    return differences(there, experiment)


def _stages(experiment: Experiment, trajectories: Trajectories) -> Sequence[Stage]:
    agent = experiment.agent.within(experiment.num_transitions)
    return agent.stages(experiment.env, trajectories, jax.random.key(experiment.seed), data_mesh())


def _num_transitions(experiment: Experiment, stages: Sequence[Stage]) -> int:
    """Returns the moves that a method has seen: recorded ones, or those that it made and those of its expert."""
    made = sum(stage.transitions_before + stage.schedule.num_updates * stage.transitions_per_update for stage in stages)
    return made or (experiment.num_transitions if stages else 0)


def _no_trajectories(experiment: Experiment) -> Trajectories:
    """Walks of no moves: a run is loaded, and found complete, without its data."""
    env = experiment.env
    return Trajectories(
        states=np.zeros((0, 1, env.num_tokens), np.int32),
        actions=np.zeros((0, 0), np.int32),
        legal_actions=np.zeros((0, 1, env.num_actions), bool),
    )


def _states(stages: Sequence[Stage], checkpoints: Checkpoints) -> tuple[dict[str, TrainState], dict[str, Any], int]:
    """Returns states, metadata and updates done of the newest good checkpoint, or fresh states where there is none."""

    def fresh() -> dict[str, TrainState]:
        return {stage.name: stage.init() for stage in stages}

    if checkpoints.latest_step is None:
        return fresh(), {}, 0
    found = checkpoints.restore(jax.eval_shape(fresh))
    return found.state, found.metadata, found.step


def _take_world_model(
    experiment: Experiment, fresh: Mapping[str, TrainState], source: Path
) -> tuple[dict[str, TrainState], dict[str, Any], int]:
    """Returns states, metadata and updates done of a run that begins with the world model of another."""
    taken = read_world_model(source, experiment, untrained_states(read_config(source)))
    states = {**fresh, WorldModelStage.name: taken.state}
    return states, {"training_seconds": taken.training_seconds, "data_sha256": taken.data_sha256}, taken.num_updates


def untrained_states(experiment: Experiment) -> dict[str, TrainState]:
    """Returns the shapes and types of all that a run of an experiment trains, by name of the stage."""
    stages = _stages(experiment, _no_trajectories(experiment))
    return jax.eval_shape(lambda: {stage.name: stage.init() for stage in stages})


def _trajectories(
    experiment: Experiment, stages: Sequence[Stage], sha256: str | None, say: Callable[[str], None]
) -> Trajectories:
    """Returns the recorded moves, which a resumed run needs to be the same as before; none for who makes its own."""
    if any(stage.transitions_per_update for stage in stages):
        return _no_trajectories(experiment)

    def find() -> Path:
        return collect(experiment.env, experiment.behaviour, experiment.num_transitions, experiment.seed, DATA_ROOT)

    # The others find what process 0 has recorded, or record it once more if they do not see its files.
    folder = on_first(find) or find()
    trajectories = load_dataset(folder, experiment.env)
    if sha256 not in (None, _sha256(trajectories)):
        raise ValueError(
            f"the run was started on other recorded moves than those in {folder}; perhaps they were collected anew "
            f"with another version of jax. Put the old ones back, or train into another folder with --run-dir"
        )
    say(f"{experiment.num_transitions:,} recorded moves without rewards: {folder}")
    return trajectories


def _sha256(trajectories: Trajectories) -> str:
    digest = hashlib.sha256()
    for array in (trajectories.states, trajectories.actions, trajectories.legal_actions):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def load_run(folder: Path, experiment: Experiment) -> Run:
    """Returns the trained parameters of a run folder; changes nothing in it.

    Args:
      folder: the run folder.
      experiment: that of the run, perhaps with another planner and other test problems.

    Raises:
      ValueError: the folder holds no complete run, nothing undamaged, or a run of other training.
    """
    if changed := changed_training(read_config(folder), experiment):
        raise ValueError(
            f"only planner and test problems can be changed after training; {folder} was trained otherwise:\n"
            f"{listed(changed)}"
        )
    checkpoints = Checkpoints(folder / "checkpoints")
    stages = _stages(experiment, _no_trajectories(experiment))
    if checkpoints.latest_step is None and stages:
        raise ValueError(f"{folder} has no checkpoint yet; train it with `python train.py`")
    states, metadata, done = _states(stages, checkpoints)
    total = sum(stage.schedule.num_updates for stage in stages)
    if done < total:
        raise ValueError(
            f"{folder} is trained only to {done:,} of {total:,} updates; the same `python train.py` command "
            f"continues it"
        )
    return Run(
        experiment=experiment,
        params={name: state.params for name, state in states.items()},
        training_seconds=metadata.get("training_seconds", 0.0),
        num_gradient_samples=sum(stage.schedule.num_updates * stage.schedule.batch_size for stage in stages),
        num_transitions=_num_transitions(experiment, stages),
        num_verifier_calls=sum(stage.schedule.num_updates * stage.verifier_calls_per_update for stage in stages),
        alarms=read_alarms(folder),
    )
