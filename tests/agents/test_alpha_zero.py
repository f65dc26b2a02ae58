"""AlphaZero and the tree search that it shares with our latents."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.alpha_zero import AlphaZero
from jepa.agents.episodes import Episodes
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.envs.countdown import Countdown
from jepa.mesh import data_mesh
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule
from jepa.types import Problem
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit
from tests.planners.graph_world import GraphWorld, grid_world, standardised

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
WORLD = grid_world()
DISTANCES = WORLD.distances()


def test_tree_search_follows_a_cost_that_is_right_without_an_actor():
    rng = np.random.default_rng(0)
    starts, goals = rng.integers(WORLD.num_nodes - 1, size=(2, 16))
    plan, lengths = searched(GumbelTreeSearch(num_simulations=16), DISTANCES, starts, goals)
    assert plan.claims_solved.all()
    assert (lengths - DISTANCES[starts, goals]).mean() < 0.2
    np.testing.assert_array_equal(plan.num_nodes_generated, (16 + WORLD.successors.shape[1]) * lengths)


def test_a_plan_goes_back_to_where_it_was_only_from_a_dead_end():
    """Led by a cost that says nothing, which without a memory goes to and fro between two places."""
    costs = np.random.default_rng(0).uniform(1, 30, DISTANCES.shape).astype(np.float32)
    starts, goals = np.arange(16), np.full(16, WORLD.num_nodes - 2)
    plan, _ = searched(GumbelTreeSearch(num_simulations=4, horizon=12), costs, starts, goals)
    seen_again = 0
    for start, actions in zip(starts, plan.actions, strict=True):
        nodes = WORLD.replay(start, actions)
        for time in range(1, len(nodes)):
            neighbours = set(WORLD.successors[nodes[time - 1]]) - {-1}
            is_dead_end = neighbours <= set(nodes[:time])
            assert is_dead_end or nodes[time] not in nodes[:time]
            seen_again += is_dead_end
    assert len(plan.actions) * 12 * 0.5 > seen_again > 0


@pytest.mark.parametrize("right_road", [0, 7, 33, 39])
def test_no_action_is_left_out_for_its_number(right_road):
    """Forty roads of which one leads on to the goal, and fewer simulations than roads."""
    num_roads, goal = 40, 41
    successors = np.full((num_roads + 2, num_roads), -1)
    successors[0] = 1 + np.arange(num_roads)
    successors[1 + right_road, 5] = goal
    world = GraphWorld(successors=successors, embeddings=standardised(np.random.default_rng(0), num_roads + 2))
    planner = GumbelTreeSearch(num_simulations=8, horizon=2, max_considered=4)
    plan, _ = searched(planner, world.distances(), np.array([0]), np.array([goal]), world)
    np.testing.assert_array_equal(plan.actions, [[right_road, 5]])


def searched(
    planner: GumbelTreeSearch, costs: np.ndarray, starts: np.ndarray, goals: np.ndarray, world: GraphWorld = WORLD
):
    """The plans that a tree makes without an actor, and their lengths."""
    model = dataclasses.replace(world.model(costs), propose=None)
    plan = jax.jit(lambda start, goal: planner.plan(model, start, goal, jax.random.key(0)))(
        world.latents(starts), world.latents(goals)
    )
    plan = jax.tree.map(np.asarray, plan)
    return plan, (plan.actions >= 0).sum(axis=1)


@pytest.mark.slow
def test_alpha_zero_finds_shortest_ways_home_on_a_grid():
    agent = AlphaZero(
        network=ResidualMLPActor(hidden_width=64),
        episodes=Episodes(num_envs=32, max_scramble=10, episode_length=12),
        practice=GumbelTreeSearch(num_simulations=8, gumbel_scale=1.0),
        rollout_length=8,
        steps_per_round=8,
        samples_per_step=256,
        training=Schedule(num_updates=30, batch_size=2048, learning_rate=3e-3, updates_per_call=10),
        planner=GumbelTreeSearch(num_simulations=8, horizon=12),
    )
    params, figures = fit(agent, GRID, NOTHING)
    assert figures["solved_episodes"] > 0.9
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    result = agent.plan_function(GRID)(params, problems, jax.random.key(0))
    lengths = np.asarray((result.actions >= 0).sum(axis=1))
    assert result.claims_solved.all()
    assert (lengths - distances()[:, 0]).mean() < 0.2


def test_moves_of_the_search_are_counted():
    agent = AlphaZero(episodes=Episodes(num_envs=4), practice=GumbelTreeSearch(num_simulations=9), rollout_length=5)
    assert agent.moves_per_round == 4 * 5 * 10
    stage = agent.within(1000).stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    assert stage.schedule.num_updates * stage.transitions_per_update == 1000


def test_in_practice_the_search_sees_a_target_in_any_place():
    env = Countdown()
    agent = AlphaZero(
        network=ResidualMLPActor(hidden_width=16),
        episodes=Episodes(num_envs=64, max_scramble=1, episode_length=1),
        practice=GumbelTreeSearch(num_simulations=2 * env.num_actions, max_considered=env.num_actions),
        rollout_length=1,
        steps_per_round=1,
        samples_per_step=8,
    )
    stage = agent.stages(env, NOTHING, jax.random.key(0), data_mesh())[0]
    _, figures = jax.jit(stage.update)(stage.init(), ())
    assert figures["solved_episodes"] > 0.9, "one operation is enough, and all of them are tried"


def test_without_mctx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mctx", None)
    with pytest.raises(ValueError, match=r'pip install -e "\.\[mcts\]"'):
        GumbelTreeSearch().plan(WORLD.model(DISTANCES), WORLD.latents([0]), WORLD.latents([1]), jax.random.key(0))


@pytest.mark.slow
def test_the_newest_moves_are_kept():
    agent = AlphaZero(
        network=ResidualMLPActor(hidden_width=8),
        episodes=Episodes(num_envs=8, max_scramble=4, episode_length=6),
        practice=GumbelTreeSearch(num_simulations=2, gumbel_scale=1.0),
        rollout_length=3,
        num_kept=60,
        steps_per_round=1,
        samples_per_step=4,
        training=Schedule(num_updates=4, batch_size=4, updates_per_call=1),
    )
    stage = agent.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    counts = []
    for state, _ in stage.run(stage.init(), {}):
        counts.append(int(state.target.replay.count))
        filled = np.asarray(state.target.replay.samples.policy.sum(axis=1))
        np.testing.assert_allclose(filled[: min(counts[-1], 60)], 1.0, atol=1e-4)  # a distribution in each place taken
        assert (filled[counts[-1] :] == 0).all()
    assert counts == [24, 48, 72, 96]  # the last two wrapped around


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="AlphaZero.num_kept must hold the 1024 moves of a round; got 100"):
        AlphaZero(num_kept=100)
    with pytest.raises(ValueError, match="discount must be below 1"):
        GumbelTreeSearch(discount=1.0)
