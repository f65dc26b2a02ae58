"""PPO learns to reach goals from its own moves, which are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.episodes import Episodes, advance, drawn_legal, new_episodes
from jepa.agents.exact_model import exact_goal_codes
from jepa.agents.ppo import PPO
from jepa.behaviours import RandomWalks
from jepa.config import from_json, to_json
from jepa.dataset import collect_walks
from jepa.envs.arithmetic_graph import ArithmeticGraph
from jepa.envs.base import full_goal
from jepa.envs.countdown import Countdown
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.mesh import data_mesh
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule
from jepa.types import Problem
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit

GRID, TILES, COUNTDOWN = Grid(), SlidingTiles(rows=2, columns=3), Countdown()
GRAPH = ArithmeticGraph(num_quantities=8, min_steps=2, max_steps=3)
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
PRACTICE = Episodes(num_envs=64, max_scramble=8, episode_length=12)


@pytest.mark.slow
def test_ppo_finds_shortest_ways_on_a_grid():
    agent = PPO(
        network=ResidualMLPActor(hidden_width=64),
        episodes=Episodes(num_envs=64, max_scramble=12, episode_length=12),
        training=Schedule(num_updates=80, batch_size=64, learning_rate=3e-3, weight_decay=0.0, updates_per_call=10),
        planner=ProposalSearch(width=1, horizon=12),
    )
    params, figures = fit(agent, GRID, NOTHING)
    assert figures["solved_episodes"] > 0.9
    # It has only ever practised to go to the corner where walks begin.
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    result = agent.plan_function(GRID)(params, problems, jax.random.key(0))
    lengths = np.asarray((result.actions >= 0).sum(axis=1))
    assert result.claims_solved.all()
    assert (lengths - distances()[:, 0]).mean() < 0.2


def test_problems_to_practise_on_are_as_far_as_their_walk_and_lead_home():
    episodes = jax.jit(lambda key: new_episodes(TILES, PRACTICE, key))(jax.random.key(0))
    home = TILES.initial_state(jax.random.key(0))
    np.testing.assert_array_equal(episodes.goals.tokens, jnp.broadcast_to(home, (64, 6)))
    assert (episodes.states != home).any(axis=1).mean() > 0.5


def test_problems_without_a_way_back_ask_for_what_a_walk_reached_as_test_problems_do():
    config = dataclasses.replace(PRACTICE, max_scramble=2, num_envs=256)
    episodes = jax.jit(lambda key: new_episodes(COUNTDOWN, config, key))(jax.random.key(0))
    posed = jax.vmap(COUNTDOWN.sample_problem)(jax.random.split(jax.random.key(0), 4)).goal
    np.testing.assert_array_equal(episodes.goals.mask[:4], posed.mask)
    lengths = COUNTDOWN.optimal_lengths(Problem(start=episodes.states, goal=episodes.goals))
    assert set(lengths.tolist()) == {1, 2}, "solvable by as many moves as walks have, and none solved already"
    starts = np.sort(np.asarray(episodes.states), axis=1)
    assert len(np.unique(starts, axis=0)) > 200, "those that are drawn again are not all the same"


@pytest.mark.parametrize("env", [TILES, GRAPH], ids=lambda env: env.name)
def test_where_goals_have_one_alternative_nothing_depends_on_how_they_are_posed(env):
    before = dataclasses.replace(PRACTICE, as_posed=False)
    posed, asked = (new_episodes(env, config, jax.random.key(0)) for config in (PRACTICE, before))
    jax.tree.map(np.testing.assert_array_equal, posed, asked)
    actions = jax.vmap(env.legal_actions)(posed.states).argmax(axis=1)
    moved = (advance(env, config, posed, actions, jax.random.key(1)) for config in (PRACTICE, before))
    jax.tree.map(np.testing.assert_array_equal, *moved)
    goals = (config.test_goals(env, posed.goals) for config in (PRACTICE, before))
    jax.tree.map(np.testing.assert_array_equal, *goals)


def test_posed_goals_are_met_in_any_place_and_given_to_networks_as_one():
    goals = jax.vmap(COUNTDOWN.sample_problem)(jax.random.split(jax.random.key(0), 2)).goal
    target = goals.tokens[:, 0]
    states = jnp.zeros((2, 4), jnp.int32).at[0, 3].set(target[0]).at[1, 3].set(target[1] + 1)
    assert PRACTICE.met_by(COUNTDOWN, states, goals).tolist() == [True, False]
    own, alternatives = (
        exact_goal_codes(COUNTDOWN, goal) for goal in (goals, jax.vmap(COUNTDOWN.goal_alternatives)(goals))
    )
    searched = PPO(episodes=PRACTICE).goal_codes(COUNTDOWN, goals)
    np.testing.assert_array_equal(searched["given"], own[:, None])
    np.testing.assert_array_equal(searched["codes"], alternatives)


def test_runs_from_before_goals_were_posed_are_graded_as_they_were():
    written = to_json(PPO())
    del written["episodes"]["as_posed"]
    agent = from_json(written)
    goals = jax.vmap(COUNTDOWN.sample_problem)(jax.random.split(jax.random.key(0), 2)).goal
    alternatives = exact_goal_codes(COUNTDOWN, jax.vmap(COUNTDOWN.goal_alternatives)(goals))
    np.testing.assert_array_equal(agent.goal_codes(COUNTDOWN, goals)["given"], alternatives)
    episodes = new_episodes(COUNTDOWN, agent.episodes, jax.random.key(0))
    assert (episodes.goals.mask.sum(axis=1) == 1).all(), "a number where it stands"
    assert agent.episodes.met_by(COUNTDOWN, episodes.goals.tokens, episodes.goals).all()
    elsewhere = jnp.roll(jnp.where(episodes.goals.mask, episodes.goals.tokens, 0), 1, axis=1)
    assert not agent.episodes.met_by(COUNTDOWN, elsewhere, episodes.goals).any()


def test_an_episode_ends_when_solved_or_given_up_and_a_new_one_follows():
    short = dataclasses.replace(PRACTICE, episode_length=1)
    episodes = new_episodes(TILES, short, jax.random.key(0))
    legal = jax.vmap(TILES.legal_actions)(episodes.states)
    after, solved, ended = advance(TILES, short, episodes, legal.argmax(axis=1), jax.random.key(1))
    assert ended.all() and (after.num_moves == 0).all()
    longer = dataclasses.replace(PRACTICE, episode_length=9)
    after, solved, ended = advance(TILES, longer, episodes, legal.argmax(axis=1), jax.random.key(1))
    np.testing.assert_array_equal(solved, ended)
    assert (after.num_moves[~np.asarray(ended)] == 1).all()


def test_random_moves_are_legal_ones_each_as_often():
    legal = jnp.array([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    draws = (jnp.arange(9000) / 9000)[:, None].repeat(3, axis=1)
    actions = np.asarray(jax.vmap(lambda draws: drawn_legal(legal, draws))(draws))
    np.testing.assert_allclose(np.bincount(actions[:, 0], minlength=5), [0, 3000, 0, 3000, 3000], atol=1)
    assert (actions[:, 1] == 0).all() and (actions[:, 2] == 4).all()
    last = jnp.full(1, np.nextafter(np.float32(1), np.float32(0)))
    for count in (1, 3, 7, 100):
        assert drawn_legal(jnp.ones((1, count), bool), last)[0] == count - 1


def test_moves_are_counted():
    agent = PPO(episodes=PRACTICE, rollout_length=4, num_minibatches=2)
    assert agent.moves_per_round == 256
    within = agent.within(3000)
    assert within.training.num_updates == 11
    stage = within.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    assert stage.transitions_per_update * stage.schedule.num_updates == 11 * 256
    assert stage.verifier_calls_per_update == 256  # after every move


def test_few_moves_make_small_rounds():
    agent = PPO(episodes=PRACTICE, rollout_length=4, num_minibatches=64)
    within = agent.within(1000)
    assert (within.episodes.num_envs, within.moves_per_round, within.training.num_updates) == (16, 64, 15)
    assert (within.num_minibatches, within.training.batch_size) == (64, 64 * agent.num_epochs)
    assert agent.within(300).num_minibatches == 32  # which divides the 32 moves of a round
    assert agent.within(10).training.num_updates == 1  # one call is the least


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"must divide the 2048 moves of a round; got 3"):
        PPO(num_minibatches=3)
    with pytest.raises(ValueError, match="num_envs"):
        Episodes(num_envs=0)
