"""Every method continues to the same bits, not only the planner in latent space. (F24)

What a method keeps beside its parameters (running episodes, a replay buffer, targets) is a part of the saved state, and
all its random numbers follow from the seed and the number of the update. That a killed process changes nothing about
this is in `tests/faults/test_agents.py`.
"""

import shutil
from pathlib import Path

import pytest

import jepa.agents
from jepa.actors.learning import ActorLearning
from jepa.agents.base import Agent
from jepa.agents.latent_planner import LatentPlanner
from jepa.agents.random_plans import RandomPlans
from jepa.agents.untrained import UntrainedNetworks
from jepa.behaviours import NonBacktrackingWalks
from jepa.checkpoint import Checkpoints
from jepa.config import Experiment, shrink
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.runs import train
from tests.discovery import discover, skip_without_extra
from tests.faults.programs import SMALL_AGENT, assert_same_bits

pytestmark = pytest.mark.slow

LEARNERS = [cls for cls in discover(Agent, jepa.agents) if cls not in (RandomPlans, UntrainedNetworks)]


def small(agent: Agent) -> Experiment:
    agent = shrink(agent, **SMALL_AGENT)
    # Who plays does as many rounds as its moves allow, less those that an expert shows it.
    rounds = 4 * getattr(agent, "moves_per_round", 0) + getattr(agent, "num_expert_moves", 0)
    behaviour = NonBacktrackingWalks(walk_length=14)
    return Experiment(
        env=SlidingTiles(rows=2, columns=3), behaviour=behaviour, num_transitions=rounds or 70, agent=agent
    )


def resumes(agent: Agent, folder: Path) -> int:
    """Trains, and once more from before the last checkpoint; returns how many rows were compared."""
    experiment = small(agent)
    with skip_without_extra():
        train(experiment, folder / "unbroken", lambda text: None, seconds_between_checkpoints=0.0)
    steps = Checkpoints(folder / "unbroken" / "checkpoints").steps
    assert len(steps) == 2
    shutil.copytree(folder / "unbroken", folder / "resumed")
    shutil.rmtree(folder / "resumed" / "checkpoints" / f"{steps[-1]:08d}")
    said = []
    train(experiment, folder / "resumed", said.append, seconds_between_checkpoints=0.0)
    assert f"Resuming after {steps[0]} of {steps[-1]} updates" in said
    return assert_same_bits(folder / "resumed", folder / "unbroken")


@pytest.fixture
def in_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
def test_every_method_resumes_to_the_same_bits(cls, in_folder):
    assert resumes(cls(), in_folder) >= 4


def test_the_actor_resumes_to_the_same_bits(in_folder):
    resumes(LatentPlanner(actor=ActorLearning()), in_folder)
