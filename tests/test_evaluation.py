"""Problems, the exact grading of plans, and the exact model."""

import os
import pickle
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jepa.agents.latent_planner import planning_model
from jepa.costs.euclidean import EuclideanCost
from jepa.envs.base import full_goal
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, exact_lengths, exact_model, load_problems, solve
from jepa.mesh import data_mesh
from jepa.report import false_claim_fraction
from jepa.types import Goal, Plan
from jepa.world_model import WorldModel
from tests.exact_world import breadth_first

TILES = SlidingTiles(rows=2, columns=3)
ENVS = pytest.mark.parametrize("env", [TILES, PocketCube()], ids=lambda env: env.name)
HORIZON = 22


# ---- problems


@ENVS
def test_drawn_problems_depend_on_their_seed_alone(env):
    problems = load_problems(env, Evaluation(num_problems=30))
    assert problems.start.shape == (30, env.num_tokens)
    fewer = load_problems(env, Evaluation(num_problems=10, problems_per_batch=3))
    np.testing.assert_array_equal(fewer.start, problems.start[:10])
    others = load_problems(env, Evaluation(num_problems=30, problem_seed=1))
    assert (others.start != problems.start).any()
    assert (env.optimal_lengths(problems) >= 0).all()


def test_problems_of_a_file(tmp_path):
    path = tmp_path / "scrambles.npz"
    np.savez(path, scramble=np.array([[0, -1], [0, 1], [2, 2]], np.int8), optimal_length=np.array([1, 0, 2]))
    for count in (1, 2, 3, 1000):
        problems = load_problems(PocketCube(), Evaluation(problems=path, num_problems=count))
        np.testing.assert_array_equal(PocketCube().optimal_lengths(problems), [1, 0, 2][:count])


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def write_bad_file(kind: str, path: Path) -> None:
    solved = np.arange(6)[None]
    arrays = {
        "objects": {"start": np.array([Bomb()], object)},
        "shape": {"start": np.zeros((3, 7), int)},
        "axes": {"start": np.zeros((3, 1, 6), int)},
        "illegal": {"start": np.zeros((3, 6), int)},
        "unsolvable": {"start": np.array([[2, 1, 3, 4, 5, 0]])},
        "floats": {"start": solved.astype(float)},
        "no problems": {"start": np.zeros((0, 6), int)},
        "no arrays": {},
        "other names": {"states": solved},
        "number": {"start": np.int32(3)},
        "too few goals": {"start": np.repeat(solved, 3, axis=0), "goal": solved},
    }
    if kind in arrays:
        np.savez(path, **arrays[kind])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "text":
        path.write_text("start")
    elif kind == "empty":
        path.touch()
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, solved)
    elif kind == "text member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("start", "0 1 2 3 4 5")
    elif kind in ("flipped", "truncated"):
        np.savez(path, start=np.repeat(solved, 50, axis=0))
        content = bytearray(path.read_bytes())
        content[300] ^= 255
        path.write_bytes(content if kind == "flipped" else content[:300])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("objects", "cannot be read as an .npz archive of plain arrays"),
        ("pickle", "is no .npz archive"),
        ("text", "is no .npz archive"),
        ("empty", "is no .npz archive"),
        ("one array", "is no .npz archive"),
        ("truncated", "is no .npz archive"),
        ("flipped", "cannot be read as an .npz archive of plain arrays"),
        ("text member", "expected an array `start`"),
        ("no arrays", "expected an array `start`, came the arrays []"),
        ("other names", "expected an array `start`, came the arrays ['states']"),
        ("number", "expected an array `start`"),
        ("shape", "`start` must be integers of shape [problems, 6]"),
        ("axes", "`start` must be integers of shape [problems, 6]"),
        ("floats", "`start` must be integers of shape [problems, 6]"),
        ("no problems", "`start` must be integers of shape [problems, 6]"),
        ("illegal", "`start` of problem 0 is not a state"),
        ("unsolvable", "problem 0 has no solution"),
        ("too few goals", "expected one goal per problem"),
    ],
)
def test_bad_problems_file_is_refused_and_never_executed(tmp_path, monkeypatch, kind, message):
    monkeypatch.chdir(tmp_path)
    write_bad_file(kind, Path("problems.npz"))
    with pytest.raises(ValueError) as caught:
        load_problems(TILES, Evaluation(problems=Path("problems.npz")))
    assert message in str(caught.value) and "problems.npz" in str(caught.value)
    assert not Path("executed").exists()


@pytest.mark.parametrize("sizes", [{"num_problems": 0}, {"problems_per_batch": 0}, {"num_problems": -3}])
def test_evaluation_of_nothing_is_refused(sizes):
    with pytest.raises(ValueError, match="must be at least 1"):
        Evaluation(**sizes)


# ---- solving and grading


def optimal_plans(problems) -> np.ndarray:
    """Descends the exact distances, breadth-first from the goal."""
    distances = breadth_first(TILES, np.asarray(problems.goal.tokens[0]))
    step = jax.jit(TILES.step)
    plans = np.full((len(problems.start), HORIZON), -1, np.int32)
    for plan, state in zip(plans, problems.start, strict=True):
        for time in range(distances[tuple(state.tolist())]):
            successors = [np.asarray(step(state, action)) for action in range(4)]
            plan[time] = min(range(4), key=lambda action: distances[tuple(successors[action].tolist())])
            state = successors[plan[time]]
    return plans


@pytest.fixture(scope="module")
def problems():
    drawn = load_problems(TILES, Evaluation(num_problems=30))
    different = np.unique(drawn.start, axis=0, return_index=True)[1][:11]
    return jax.tree.map(lambda x: x[different], drawn)


@pytest.fixture(scope="module")
def plans(problems):
    return optimal_plans(problems)


def plan_function(problems, plans):
    """A planner that has the answer to each start in a table, and claims all of them."""

    def plan(params, batch, key):
        found = (batch.start[:, None] == jnp.asarray(problems.start)).all(axis=-1).argmax(axis=-1)
        return Plan(
            actions=jnp.asarray(plans)[found],
            predicted_costs=jnp.broadcast_to(found[:, None].astype(jnp.float32), (len(found), HORIZON + 1)),
            claims_solved=jnp.ones(len(found), bool),
            num_nodes_generated=found.astype(jnp.int32),
        )

    return plan


@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_perfect_planner_solves_everything_whatever_the_batch(problems, plans, size):
    done = []
    config = Evaluation(problems_per_batch=size)
    records = solve(TILES, plan_function(problems, plans), {}, problems, config, data_mesh(), done.append)
    assert records.solved.all()
    np.testing.assert_array_equal(records.actions, plans)
    np.testing.assert_array_equal(records.plan_lengths, records.optimal_lengths)
    np.testing.assert_array_equal(records.num_nodes_generated, np.arange(11))
    np.testing.assert_array_equal(records.predicted_costs[:, 0], np.arange(11))
    assert done[0] == 0 and done[-1] == 11 and done == sorted(done)
    assert records.seconds_per_problem > 0


def test_seeds_and_batches_leave_other_things_to_chance(problems):
    def plan(params, batch, key):
        draws = jax.random.randint(key, batch.start.shape[:1], 0, 2**30)
        return Plan(
            actions=jnp.full((len(draws), HORIZON), -1),
            predicted_costs=jnp.zeros((len(draws), HORIZON + 1)),
            claims_solved=jnp.zeros(len(draws), bool),
            num_nodes_generated=draws,
        )

    config = Evaluation(problems_per_batch=4)
    draws = [
        solve(TILES, plan, {}, problems, config, data_mesh(), seed=seed).num_nodes_generated for seed in (0, 1, 2, 0)
    ]
    np.testing.assert_array_equal(draws[0], draws[3])
    assert len(np.unique(draws[:3])) == 3 * len(problems.start)


def change_last(plan, length):
    plan[length - 1] = (plan[length - 1] + 1) % 4


def stop_early(plan, length):
    plan[length - 1] = -1


def start_illegally(plan, length):
    plan[1:] = plan[:-1].copy()
    plan[0] = 9


@pytest.mark.parametrize("damage", [change_last, stop_early, start_illegally])
def test_wrong_plans_are_rejected_whatever_they_claim(problems, plans, damage):
    wrong, lengths = plans.copy(), (plans >= 0).sum(axis=1)
    chosen = np.flatnonzero(lengths > 0)[::2]
    for index in chosen:
        damage(wrong[index], lengths[index])
    records = solve(TILES, plan_function(problems, wrong), {}, problems, Evaluation(), data_mesh())
    np.testing.assert_array_equal(np.flatnonzero(~records.solved), chosen)
    assert false_claim_fraction(records) == len(chosen) / 11


# ---- optimal lengths


def test_optimal_lengths_come_from_the_file_where_it_has_them(tmp_path, problems):
    path, config = tmp_path / "problems.npz", Evaluation(problems=tmp_path / "problems.npz", num_problems=4)
    exact = TILES.optimal_lengths(problems)
    np.savez(path, start=problems.start)
    assert exact_lengths(TILES, load_problems(TILES, config), config).tolist() == exact[:4].tolist()
    np.savez(path, start=problems.start, optimal_length=np.arange(11, dtype=np.int16) - 1)
    assert exact_lengths(TILES, load_problems(TILES, config), config).tolist() == [-1, 0, 1, 2]
    assert exact_lengths(TILES, problems, Evaluation()).tolist() == exact.tolist()


@pytest.mark.parametrize("lengths", [np.zeros((4, 1), int), np.zeros(4), np.full(4, -2), np.zeros(3, int)])
def test_optimal_lengths_of_a_file_that_cannot_be_are_refused(tmp_path, problems, lengths):
    config = Evaluation(problems=tmp_path / "problems.npz", num_problems=4)
    np.savez(config.problems, start=problems.start[:4], optimal_length=lengths)
    with pytest.raises(ValueError, match="`optimal_length` must be 4 whole numbers, one per problem"):
        exact_lengths(TILES, load_problems(TILES, config), config)


# ---- the exact model


@pytest.fixture(scope="module", params=[TILES, PocketCube()], ids=lambda env: env.name)
def exact(request):
    env = request.param
    world_model = WorldModel().build(env, jax.random.key(0))
    cost = EuclideanCost().build(latent_width=world_model.encoder.latent_width, num_slots=1, rngs=nnx.Rngs(0))
    states = load_problems(env, Evaluation(num_problems=64, problem_seed=9)).start
    return env, world_model, cost, states, *exact_model(env, world_model, cost)


def test_exact_model_moves_as_the_environment(exact):
    env, _, _, states, model, encode, _ = exact
    latents = encode(jnp.asarray(states))
    assert latents.shape == (64, env.num_tokens * env.vocab_size)
    predicted, legal = model.predict_all(latents), model.legal_actions(latents)
    for action in range(env.num_actions):
        expected = jax.vmap(env.step, in_axes=(0, None))(jnp.asarray(states), jnp.int32(action))
        np.testing.assert_allclose(predicted[:, action], encode(expected), atol=1e-6)  # two programs round apart
    np.testing.assert_array_equal(legal, jax.vmap(env.legal_actions)(jnp.asarray(states)))


def test_exact_model_tells_states_apart_by_the_scale_of_latents(exact):
    """Two states differ by 2 in a slot that differs, as independent latents do, so tolerances keep their meaning."""
    env, _, _, states, model, encode, encode_goal = exact
    goals = full_goal(jnp.asarray(states[:1])[None])
    to_first = model.goal_difference(encode(jnp.asarray(states))[None], encode_goal(goals))[0]
    np.testing.assert_allclose(to_first, np.where((states == states[0]).all(axis=1), 0.0, 2.0), rtol=1e-5)
    slots = np.asarray(encode(jnp.asarray(states))).reshape(64, env.num_tokens, env.vocab_size)
    differences = ((slots[:, None] - slots[None]) ** 2).mean(axis=-1)
    differs = states[:, None] != states[None]
    np.testing.assert_allclose(differences[differs], 2.0, rtol=1e-5)
    np.testing.assert_array_equal(differences[~differs], 0.0)


def test_exact_model_has_the_learned_cost(exact):
    _, world_model, cost, states, model, encode, encode_goal = exact
    starts, goals = jnp.asarray(states), jnp.asarray(states[::-1].copy())
    expected = cost(world_model.encode(starts), world_model.encode(goals))
    goals = encode_goal(full_goal(goals[:, None]))
    np.testing.assert_allclose(model.cost(encode(starts)[:, None], goals)[:, 0], expected, rtol=1e-5)


def test_exact_model_leaves_open_what_a_partial_goal_leaves_open():
    world_model = WorldModel().build(TILES, jax.random.key(0))
    cost = EuclideanCost().build(latent_width=world_model.encoder.latent_width, num_slots=1, rngs=nnx.Rngs(0))
    model, encode, encode_goal = exact_model(TILES, world_model, cost)
    states = jnp.array([[1, 2, 3, 4, 5, 0], [1, 2, 3, 0, 4, 5], [2, 1, 3, 4, 5, 0]])
    first_row = Goal(tokens=states[0], mask=jnp.array([True, True, True, False, False, False]))
    goals = encode_goal(jax.tree.map(lambda leaf: leaf[None, None], first_row))
    np.testing.assert_allclose(model.goal_difference(encode(states)[None], goals)[0], [0.0, 0.0, 2.0], atol=1e-5)
    # The learned latents say the same, and the cost is that of the goal latent with its open slots.
    learned, latents = planning_model(world_model, cost), world_model.encode(states)[None]
    latent_goals = world_model.encode_goal(jax.tree.map(lambda leaf: leaf[None, None], first_row))
    assert (learned.goal_difference(latents, latent_goals)[0] < 0.3).tolist() == [True, True, False]
    np.testing.assert_allclose(model.cost(encode(states)[None], goals), learned.cost(latents, latent_goals), rtol=1e-5)
    assert (latent_goals[0, 0].reshape(6, -1)[3:] == 0).all()
