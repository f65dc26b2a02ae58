"""Q-learning from its own walks, which are kept and counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.episodes import Episodes
from jepa.agents.q_learning_online import OnlineQLearning
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.mesh import data_mesh
from jepa.training import Schedule
from jepa.types import Problem
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
AGENT = OnlineQLearning(
    network=ResidualMLPActor(hidden_width=64),
    episodes=Episodes(num_envs=32, max_scramble=10, episode_length=10),
    num_walks_kept=256,
    steps_per_round=32,
    samples_per_step=128,
    target_rate=0.02,
    max_cost=20.0,
    training=Schedule(num_updates=50, batch_size=4096, learning_rate=3e-3, weight_decay=0.0, updates_per_call=10),
)


@pytest.mark.slow
def test_it_finds_shortest_ways_home_on_a_grid():
    params, figures = fit(AGENT, GRID, NOTHING)
    assert figures["solved_episodes"] > 0.8 and figures["epsilon"] == pytest.approx(0.1)
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    result = AGENT.plan_function(GRID)(params, problems, jax.random.key(0))
    lengths = np.asarray((result.actions >= 0).sum(axis=1))
    assert result.claims_solved.all()
    assert (lengths - distances()[:, 0]).mean() < 0.2


def test_kept_walks_are_walks_and_the_oldest_give_way():
    short = dataclasses.replace(AGENT.training, num_updates=3, updates_per_call=1)
    stage = dataclasses.replace(AGENT, training=short).stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    kept = [jax.tree.map(np.array, state.target.walks) for state, _ in stage.run(stage.init(), {})]
    step = jax.vmap(jax.vmap(GRID.step))
    for walks in kept:
        after = step(jnp.asarray(walks.states[:, :-1]), jnp.asarray(walks.actions))
        np.testing.assert_array_equal(after, walks.states[:, 1:])
    first, second = kept[0].states.reshape(8, 32, -1), kept[1].states.reshape(8, 32, -1)
    assert (first == first[0]).all()  # the first round takes all places
    assert (second[[0, 2, 3, 4, 5, 6, 7]] == first[0]).all() and (second[1] != first[1]).any()


def test_moves_are_counted():
    assert AGENT.moves_per_round == 320
    assert AGENT.within(10_000).training.num_updates == 30  # whole compiled calls


def test_a_memory_of_broken_rounds_is_refused():
    with pytest.raises(ValueError, match=r"multiple of the 32 walks of a round; got 100"):
        dataclasses.replace(AGENT, num_walks_kept=100)
