"""Evolution strategies learn from nothing but how fit perturbed policies are."""

import dataclasses

import jax
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.episodes import Episodes
from jepa.agents.evolution import EvolutionStrategies
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.mesh import data_mesh
from jepa.training import Schedule
from tests.agents.grid import Grid

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
AGENT = EvolutionStrategies(
    network=ResidualMLPActor(hidden_width=16),
    episodes=Episodes(num_envs=32, max_scramble=6, episode_length=8),
    num_pairs=16,
    noise=0.1,
    training=Schedule(num_updates=40, batch_size=32, learning_rate=3e-2, weight_decay=0.0, updates_per_call=5),
)


def test_policies_become_fitter():
    stage = AGENT.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    fitness = [-figures["loss"] for _, figures in stage.run(stage.init(), {})]
    assert fitness[-1] > 0.7 and fitness[-1] > fitness[0] + 0.2


def test_moves_of_all_perturbations_are_counted():
    assert AGENT.moves_per_round == 2 * 16 * 32 * 8
    assert AGENT.within(100_000).training.num_updates == 10  # whole compiled calls of five rounds


def test_few_moves_are_many_rounds_of_few_perturbations():
    few = AGENT.within(20_000)
    assert (few.num_pairs, few.episodes.num_envs, few.training.num_updates) == (8, 8, 15)
    assert few.moves_per_round * few.training.num_updates <= 20_000
    assert few.training.batch_size == 16  # policies that are tried in a round


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="noise"):
        dataclasses.replace(AGENT, noise=0.0)
