"""Begins a run with the world model of another, where both train the very same one.

Training is a pure function of config and seed, so nothing changes but the time: costs and policies can be tried on one
world model without training it again. What both must have in common is checked, not believed.
"""

import dataclasses
import shutil
from pathlib import Path

from jaxtyping import PyTree

from jepa.agents.latent_planner import LatentPlanner, WorldModelAgent
from jepa.checkpoint import Checkpoints
from jepa.config import Experiment
from jepa.run_config import changed_training, listed, read_config
from jepa.run_log import copy_rows, read_jsonl
from jepa.training import TrainState, WorldModelStage


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedWorldModel:
    """What a run takes over."""

    state: TrainState
    """State of the stage at its end."""
    num_updates: int
    """Its updates."""
    training_seconds: float
    """What they took, without the start of the program."""
    data_sha256: str
    """Digest of the recorded moves that it learned from."""


def changed_world_model(one: Experiment, other: Experiment) -> dict[str, str] | None:
    """Returns the differences of two experiments that matter to their world models; None if one of them has none."""
    if not all(isinstance(experiment.agent, WorldModelAgent) for experiment in (one, other)):
        return None
    return changed_training(_with_world_model_alone(one), _with_world_model_alone(other))


def read_world_model(source: Path, experiment: Experiment, abstract_states: PyTree) -> TrainedWorldModel:
    """Returns the world model of another run, which may still be training what follows; changes nothing there.

    Args:
      source: the folder of that run.
      experiment: what is to be trained.
      abstract_states: shapes and types of all that the other run trains, by name of the stage.

    Raises:
      ValueError: it is another world model, or not trained to its end, or its folder is damaged.
    """
    changed = changed_world_model(read_config(source), experiment)
    if changed is None:
        raise ValueError(
            f"a world model is taken over by and from a run that has one, which is not so here and in {source}"
        )
    if changed:
        raise ValueError(
            f"the world model of {source} is another one:\n{listed(changed)}\n"
            f"Use the values of that run, or train without --world-model-from"
        )
    found = Checkpoints(source / "checkpoints").restore(abstract_states)
    state, schedule = found.state[WorldModelStage.name], experiment.agent.world_model_training
    if (done := int(state.num_updates)) < schedule.num_updates:
        raise ValueError(
            f"the world model of {source} is trained only to {done:,} of {schedule.num_updates:,} updates; the same "
            f"`python train.py` command continues it"
        )
    return TrainedWorldModel(
        state=state,
        num_updates=done,
        training_seconds=_seconds(source / "metrics.jsonl", schedule.batch_size),
        data_sha256=found.metadata["data_sha256"],
    )


def copy_logs(source: Path, folder: Path) -> None:
    """Copies what a run wrote down while it trained its world model: metrics, TensorBoard, versions and commit."""
    copy_rows(source / "metrics.jsonl", folder / "metrics.jsonl", WorldModelStage.name)
    if (source / "provenance.json").exists():
        shutil.copy2(source / "provenance.json", folder / "provenance.json")
    events = Path("tensorboard") / WorldModelStage.name
    if (source / events).is_dir():
        shutil.copytree(source / events, folder / events, dirs_exist_ok=True)


def _with_world_model_alone(experiment: Experiment) -> Experiment:
    agent = experiment.agent
    alone = LatentPlanner(world_model=agent.world_model, world_model_training=agent.world_model_training)
    return dataclasses.replace(experiment, agent=alone)


def _seconds(path: Path, batch_size: int) -> float:
    """Returns how long the updates of the world model took, by the speed between the rows of a log."""
    seconds, done = 0.0, 0
    for row in read_jsonl(path):
        if row.get("stage") == WorldModelStage.name:
            seconds += (row["num_updates"] - done) * batch_size / row["samples_per_second"]
            done = row["num_updates"]
    return seconds
