"""What every reasoning domain must do: all of them are found by discovery, built with their default sizes."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa.envs
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.dataset_files import describe_env
from jepa.envs.base import Env, GoalKind
from jepa.types import Goal, Problem
from tests.discovery import discover, skip_without_extra

NUM_PROBLEMS = 8
MAX_PLAN_LENGTH = 80


@pytest.fixture(scope="module", params=discover(Env, jepa.envs), ids=lambda cls: cls.__name__)
def env(request) -> Env:
    with skip_without_extra():
        return request.param()


@pytest.fixture(scope="module")
def problems(env) -> Problem:
    keys = jax.random.split(jax.random.key(0), NUM_PROBLEMS)
    return jax.jit(jax.vmap(env.sample_problem))(keys)


@pytest.fixture(scope="module")
def states(env, problems) -> jax.Array:
    """States of random walks from the usual beginning, and the starts of problems."""
    walks = collect_walks(env, RandomWalks(walk_length=16), 16 * 8, seed=0)
    return jnp.concatenate([problems.start, walks.states.reshape(-1, env.num_tokens)])


@pytest.fixture(scope="module")
def successors(env, states) -> np.ndarray:
    """[state, action, token], compiled and batched."""
    over_actions = jax.vmap(env.step, in_axes=(None, 0))
    step = jax.jit(jax.vmap(over_actions, in_axes=(0, None)))
    return np.asarray(step(states, jnp.arange(env.num_actions)))


@pytest.fixture(scope="module")
def legal(env, states) -> np.ndarray:
    """[state, action]."""
    return np.asarray(jax.jit(jax.vmap(env.legal_actions))(states))


def test_the_shipped_domains_are_found():
    assert {"PocketCube", "SlidingTiles"} <= {cls.__name__ for cls in discover(Env, jepa.envs)}


def test_description(env):
    assert re.fullmatch(r"[a-z0-9_]+", env.name)
    assert env.num_tokens > 0 and env.vocab_size > 1 and env.num_actions > 1
    assert len(set(env.action_names)) == env.num_actions
    assert env.grid_shape is None or np.prod(env.grid_shape) == env.num_tokens
    assert hash(env) == hash(type(env)()) and env == type(env)()


def test_tokens_are_in_range(env, states, successors):
    assert states.dtype == jnp.int32 and successors.dtype == np.int32
    for tokens in (np.asarray(states), successors):
        assert tokens.shape[-1] == env.num_tokens
        assert tokens.min() >= 0 and tokens.max() < env.vocab_size


def test_states_of_the_domain_are_valid_and_others_are_not(env, states, successors):
    for state in [*np.asarray(states), *successors[0]]:
        assert env.invalid_reason(state) is None
    state = np.asarray(states[0])
    for wrong in (
        state[:-1],
        np.append(state, 0),
        np.full_like(state, env.vocab_size),
        np.full_like(state, -1),
    ):
        assert isinstance(env.invalid_reason(wrong), str)


def test_compiled_batches_agree_with_single_states(env, states, successors, legal):
    for index in (0, NUM_PROBLEMS + 1, len(states) - 1):
        assert (np.asarray(env.legal_actions(states[index])) == legal[index]).all()
        for action in {0, env.num_actions // 2, env.num_actions - 1}:
            assert (np.asarray(env.step(states[index], jnp.int32(action))) == successors[index, action]).all()


def test_legal_actions_are_a_mask_and_illegal_ones_change_nothing(env, states, successors, legal):
    assert legal.shape == (len(states), env.num_actions) and legal.dtype == bool
    assert legal.any()
    unchanged = (successors == np.asarray(states)[:, None]).all(axis=-1)
    assert unchanged[~legal].all()
    assert not unchanged[legal].all()


def test_problems_are_random_and_reproducible(env, problems):
    again = jax.jit(env.sample_problem)(jax.random.split(jax.random.key(0), NUM_PROBLEMS)[3])
    assert jax.tree.all(jax.tree.map(lambda one, many: (one == many[3]).all(), again, problems))
    drawn = np.concatenate([problems.start, problems.goal.tokens], axis=1)
    assert len(np.unique(drawn, axis=0)) > 1
    assert problems.goal.tokens.shape == problems.goal.mask.shape == problems.start.shape


def test_problems_are_solvable(env, problems):
    lengths = env.optimal_lengths(problems)
    assert lengths.shape == (NUM_PROBLEMS,) and np.issubdtype(lengths.dtype, np.integer)
    # A solver that knows no length at all says nothing about solvability.
    assert (lengths >= 0).all() or (lengths == -1).all()


def successor_problems(problem: Problem, successors: np.ndarray) -> Problem:
    goals = jax.tree.map(lambda leaf: jnp.tile(leaf, (len(successors), 1)), problem.goal)
    return Problem(start=jnp.asarray(successors), goal=goals)


def test_optimal_lengths_obey_the_bellman_equation(env, problems, successors, legal):
    for index, length in enumerate(env.optimal_lengths(problems)[:3]):
        if length <= 0:
            continue
        problem = jax.tree.map(lambda leaf, index=index: leaf[index], problems)
        below = env.optimal_lengths(successor_problems(problem, successors[index][legal[index]]))
        assert below[below >= 0].min() == length - 1


def test_an_optimal_plan_is_accepted_and_nothing_shorter(env, problems):
    length = int(env.optimal_lengths(problems)[0])
    if not 0 < length <= MAX_PLAN_LENGTH:
        pytest.skip("no optimal plan is known for the first problem")
    step = jax.jit(jax.vmap(env.step, in_axes=(None, 0)))
    legal_actions = jax.jit(env.legal_actions)
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    state, plan, first_illegal = problem.start, [], None
    for remaining in reversed(range(length)):
        successors, legal = np.asarray(step(state, jnp.arange(env.num_actions))), legal_actions(state)
        if first_illegal is None and not legal.all():
            first_illegal = (len(plan), int(np.argmin(legal)))
        lengths = env.optimal_lengths(successor_problems(problem, successors))
        plan.append(int(np.argmax((lengths == remaining) & np.asarray(legal))))
        state = jnp.asarray(successors[plan[-1]])

    plans = [[*plan, -1], [*plan[:-1], -1, -1], [*plan[:-1], env.num_actions, -1]]
    if first_illegal is not None:
        position, action = first_illegal
        plans.append([*plan[:position], action, *plan[position:]])
    solved, lengths = jax.vmap(env.verify, in_axes=(None, 0))(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [True] + [False] * (len(plans) - 1)
    assert lengths[0] == length

    lines = env.written_plan(problem, np.array(plans[0]))
    assert len(lines) >= length and all("\n" not in line for line in lines)
    if env.plan_checker is not None:
        assert env.plan_checker(problem, lines) is None
        assert isinstance(env.plan_checker(problem, lines[:-1]), str)


def test_problems_with_a_solution_are_not_refuted(env, problems):
    if (env.optimal_lengths(problems) < 0).any():
        pytest.skip("nobody knows whether they have one")
    for index in range(NUM_PROBLEMS):
        assert env.refutation(jax.tree.map(lambda leaf, index=index: leaf[index], problems)) is None


def test_test_fields_choose_problems_and_nothing_else(env):
    for name in env.test_fields:
        other = dataclasses.replace(env, **{name: getattr(env, name) + 1})
        assert describe_env(other) == describe_env(env)  # and so the name of the folder of recorded moves
        walks, others = (collect_walks(each, RandomWalks(walk_length=8), 64, seed=0) for each in (env, other))
        assert jax.tree.all(jax.tree.map(np.array_equal, walks, others))


def test_full_goals_are_solved_by_themselves(env, problems):
    if env.goal_kind is not GoalKind.STATE:
        pytest.skip("the goal is not a full state")
    assert problems.goal.mask.all()
    assert jax.vmap(env.is_solved)(problems.goal.tokens, problems.goal).all()
    at_goal = Problem(start=problems.goal.tokens, goal=problems.goal)
    assert (env.optimal_lengths(at_goal) == 0).all()
    solved, lengths = jax.vmap(env.verify)(at_goal, jnp.full((NUM_PROBLEMS, 3), -1))
    assert solved.all() and (lengths == 0).all()


def test_a_state_satisfies_what_a_goal_could_have_asked_of_it(env, states):
    keys = jax.random.split(jax.random.key(1), len(states))
    masks = jax.jit(jax.vmap(env.hindsight_mask))(states, keys)
    assert masks.shape == states.shape and masks.dtype == bool
    assert masks.any(axis=-1).all()
    if env.goal_kind is GoalKind.STATE:
        assert masks.all()
    assert jax.jit(jax.vmap(env.is_solved))(states, Goal(tokens=states, mask=masks)).all()


def test_a_posed_goal_looks_like_that_of_a_problem_and_its_walk_leads_there(env, states, problems):
    keys = jax.random.split(jax.random.key(1), len(states) - 1)
    goals = jax.jit(jax.vmap(env.posed_goal))(states[:-1], states[1:], keys)
    assert jax.jit(jax.vmap(env.is_solved))(states[1:], goals).all()
    fixed = {tuple(mask) for mask in np.asarray(goals.mask).tolist()}
    assert {tuple(mask) for mask in np.asarray(problems.goal.mask).tolist()} & fixed


def test_problems_from_arrays(env, problems):
    with pytest.raises(ValueError, match="expected"):
        env.problems_from_arrays({})
    if env.goal_kind is GoalKind.STATE:
        arrays = {"start": np.asarray(problems.start), "goal": np.asarray(problems.goal.tokens)}
        rebuilt = env.problems_from_arrays(arrays)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), rebuilt, problems))


def test_render(env, states, successors, legal):
    picture = env.render(np.asarray(states[0]))
    assert picture.strip() and "\t" not in picture
    changing = legal[0] & (successors[0] != np.asarray(states[0])).any(axis=-1)
    assert env.render(successors[0][np.argmax(changing)]) != picture
