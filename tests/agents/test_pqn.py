"""PQN learns shortest ways from its own moves, which are counted; its returns are those of the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.episodes import Episodes
from jepa.agents.pqn import PQN
from jepa.agents.rollouts import lambda_returns, random_order
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.mesh import data_mesh
from jepa.training import Schedule
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit, grid_pairs

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
AGENT = PQN(
    network=ResidualMLPActor(hidden_width=64),
    episodes=Episodes(num_envs=64, max_scramble=12, episode_length=12),
    rollout_length=8,
    num_minibatches=8,
    training=Schedule(num_updates=60, batch_size=64, learning_rate=3e-3, weight_decay=0.0, updates_per_call=10),
)


def test_returns_are_those_of_the_definition():
    values, last = jnp.array([[0.1], [0.2], [0.3], [0.4]]), jnp.array([0.5])
    solved, ended = jnp.array([[0, 1, 0, 0], [0, 1, 1, 0]], bool)[..., None]
    returns = lambda_returns(solved, ended, values, last, discount=0.9, trace_decay=0.6)
    # Solved: 1. One move before it: 0.9 (0.6 * 1 + 0.4 * 0.2). Given up: 0. At the end of the round: 0.9 * 0.5.
    np.testing.assert_allclose(returns[:, 0], [0.612, 1.0, 0.0, 0.45], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 64, 100])
def test_an_order_is_a_permutation_and_every_place_is_as_likely(count):
    orders = np.asarray(jax.vmap(lambda key: random_order(key, count))(jax.random.split(jax.random.key(0), 4000)))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(count), (4000, count)))
    # Five standard errors of the mean of a uniform number, for the first place and for the last.
    tolerance = 5 * count / (12 * 4000) ** 0.5
    assert np.abs(orders[:, [0, -1]].mean(axis=0) - (count - 1) / 2).max() < tolerance


@pytest.mark.slow
def test_it_finds_the_distances_home_on_a_grid_and_shortest_ways():
    params, figures = fit(AGENT, GRID, NOTHING)
    assert figures["solved_episodes"] > 0.9 and figures["epsilon"] == pytest.approx(0.1)
    guide, (codes, goals) = AGENT.guide(GRID, params), grid_pairs(GRID)
    # It has only ever practised to go to the corner where walks begin.
    codes, goals = codes[:1], goals[:1]
    exact = distances()[0]
    costs = np.asarray(jax.jit(guide.cost)(codes, goals))[0]
    assert np.abs(costs - exact)[1:].mean() < 0.5
    states = jnp.arange(SIZE * SIZE)[:, None]
    legal = jax.vmap(GRID.legal_actions)(states)
    actions = jax.jit(guide.propose)(codes, goals, legal[None])[0].argmax(axis=-1)
    after = np.asarray(jax.vmap(GRID.step)(states, actions))[:, 0]
    assert (exact[after] < exact)[1:].mean() > 0.9


def test_moves_are_counted():
    assert AGENT.moves_per_round == 512
    stage = AGENT.within(10_000).stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    assert stage.schedule.num_updates * stage.transitions_per_update == 5120  # whole compiled calls


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"PQN.num_minibatches must divide the 4096 moves of a round; got 3"):
        PQN(num_minibatches=3)
    with pytest.raises(ValueError, match=r"at most 2\^24 moves of a round are shuffled; got 16777217"):
        random_order(jax.random.key(0), 2**24 + 1)
    with pytest.raises(ValueError, match="PQN.trace_decay must lie between 0 and 1"):
        PQN(trace_decay=1.5)
    with pytest.raises(ValueError, match="PQN.discount must be below 1"):
        PQN(discount=1.0)
