"""What rejax plays on in the benchmark is what ours play on; skipped without the extra `throughput`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.online_sizes import Sizes
from jepa.agents.episodes import Episodes, advance, new_episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.envs.lights_out import LightsOut
from jepa.envs.sliding_tiles import SlidingTiles

pytest.importorskip("gymnax")
rejax_agents = pytest.importorskip("benchmarks.rejax_agents", exc_type=ImportError)

CONFIG = Episodes(num_envs=32, max_scramble=6, episode_length=5)


@pytest.mark.parametrize("env", [LightsOut(size=3), SlidingTiles(rows=2, columns=3)], ids=lambda env: env.name)
def test_moves_observations_rewards_and_ends_are_those_of_ours(env):
    wrapped = rejax_agents.GymnaxEnv(env, CONFIG, rejax_agents.fresh_problems(env, CONFIG))
    ours = new_episodes(env, CONFIG, jax.random.key(0))
    theirs = rejax_agents.Playing(state=ours.states, goal=ours.goals, num_moves=ours.num_moves)
    step = jax.jit(jax.vmap(wrapped.step_env, in_axes=(0, 0, 0, None)))
    num_ended = 0
    for number in range(8):
        keys = jax.random.split(jax.random.key(number), 32)
        actions = jax.random.randint(keys[0], (32,), 0, env.num_actions)
        observations, after, rewards, ends, _ = step(keys, theirs, actions, wrapped.default_params)
        moved = jax.vmap(env.step)(ours.states, actions)
        codes = [exact_codes(env, moved), exact_goal_codes(env, ours.goals)]
        np.testing.assert_array_equal(observations, jnp.concatenate(codes, axis=-1))
        ours, solved, ended = advance(env, CONFIG, ours, actions, keys[1])
        np.testing.assert_array_equal(rewards, solved)
        np.testing.assert_array_equal(ends, ended)
        np.testing.assert_array_equal(after.state[~ended], ours.states[~ended])
        theirs = rejax_agents.Playing(state=ours.states, goal=ours.goals, num_moves=ours.num_moves)
        num_ended += int(ended.sum())
    assert num_ended >= 32


@pytest.mark.parametrize("is_pooled", [False, True], ids=["fresh", "pooled"])
def test_new_problems_are_as_far_from_the_goal_as_ours(is_pooled):
    env, many = LightsOut(size=3), dataclasses.replace(CONFIG, num_envs=4000)
    pooled, fresh = rejax_agents.pooled_problems(env, CONFIG, 4096), rejax_agents.fresh_problems(env, CONFIG)
    wrapped = rejax_agents.GymnaxEnv(env, CONFIG, pooled if is_pooled else fresh)
    reset = jax.jit(jax.vmap(wrapped.reset_env, in_axes=(0, None)))
    _, playing = reset(jax.random.split(jax.random.key(1), 4000), wrapped.default_params)
    ours = jax.jit(lambda key: new_episodes(env, many, key))(jax.random.key(2))
    np.testing.assert_array_equal(playing.goal.tokens, ours.goals.tokens)
    assert abs(playing.state.mean() - ours.states.mean()) < 0.02


@pytest.mark.parametrize("method", ["PPO", "DQN", "PQN"])
def test_gradient_steps_for_each_move_are_the_same(method):
    from benchmarks.online_throughput import our_agent

    env, sizes = LightsOut(size=3), Sizes(moves_per_call=40_960)
    ours = our_agent(method, sizes)
    drawn = rejax_agents.fresh_problems(env, sizes.episodes)
    theirs = rejax_agents.algorithm(method, rejax_agents.GymnaxEnv(env, sizes.episodes, drawn), sizes)
    if method == "DQN":
        assert ours.gradient_steps / ours.moves_per_round == theirs.num_epochs / theirs.num_envs
        assert ours.samples_per_step == theirs.batch_size
        assert ours.num_walks_kept * ours.episodes.episode_length == theirs.buffer_size
    else:
        assert ours.gradient_steps == theirs.num_epochs * theirs.num_minibatches
        assert ours.moves_per_round == theirs.iteration_size
    assert ours.moves_per_round * ours.training.updates_per_call == theirs.total_timesteps
