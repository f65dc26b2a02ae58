import collections
import itertools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.base import full_goal
from jepa.envs.lights_out import LightsOut, _equations
from jepa.types import Goal, Problem

ENV = LightsOut()
BENCHMARK = pathlib.Path(__file__).parents[3] / "shared" / "benchmarks" / "lightsout7.npz"
# OEIS A159257: the dimension of the quiet patterns of boards of size 1, 2, ...
QUIET_DIMENSIONS = (0, 0, 0, 4, 2, 0, 0, 0, 8, 0, 6, 0, 0, 4, 0, 8, 2, 0, 16, 0)


def problems(starts, goals=None) -> Problem:
    starts = jnp.asarray(starts, jnp.int32)
    goals = jnp.zeros_like(starts) if goals is None else jnp.asarray(goals, jnp.int32)
    return Problem(start=starts, goal=full_goal(goals))


def sample(env: LightsOut, count: int, seed: int = 0) -> Problem:
    return jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(seed), count))


def press(size: int, board: tuple[int, ...], cell: int) -> tuple[int, ...]:
    """Presses a cell by the rule as it is told, sharing nothing with the shipped code."""
    row, column = divmod(cell, size)
    lights = list(board)
    for r, c in ((row, column), (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
        if 0 <= r < size and 0 <= c < size:
            lights[r * size + c] = 1 - lights[r * size + c]
    return tuple(lights)


def search(size: int) -> dict[tuple[int, ...], int]:
    """Breadth-first search from the dark board."""
    distances = {(0,) * size**2: 0}
    queue = collections.deque(distances)
    while queue:
        board = queue.popleft()
        for cell in range(size**2):
            pressed = press(size, board, cell)
            if pressed not in distances:
                distances[pressed] = distances[board] + 1
                queue.append(pressed)
    return distances


def chase(size: int, board: tuple[int, ...]) -> int:
    """Least number of presses by light chasing: the presses of the first row leave no choice in the others."""
    best = -1
    for first in itertools.product((0, 1), repeat=size):
        lights, count = board, 0
        for cell in range(size**2):
            chosen = first[cell] if cell < size else lights[cell - size]
            if chosen:
                lights, count = press(size, lights, cell), count + 1
        if not any(lights) and (best < 0 or count < best):
            best = count
    return best


# --- Dynamics.


def test_a_press_toggles_a_cross():
    dark = ENV.initial_state(jax.random.key(0))
    pictures = [ENV.render(np.asarray(ENV.step(dark, jnp.int32(cell)))) for cell in (0, 9, 12)]
    assert pictures == [
        "# # . . .\n# . . . .\n. . . . .\n. . . . .\n. . . . .",
        ". . . . #\n. . . # #\n. . . . #\n. . . . .\n. . . . .",
        ". . . . .\n. . # . .\n. # # # .\n. . # . .\n. . . . .",
    ]
    assert [ENV.action_names[cell] for cell in (0, 9, 12)] == ["0,0", "1,4", "2,2"]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_steps_agree_with_the_rule_and_undo_themselves(size):
    env = LightsOut(size=size)
    boards = np.random.default_rng(0).integers(0, 2, (20, size**2))
    step = jax.jit(jax.vmap(env.step))
    for cell in range(size**2):
        actions = jnp.full(20, cell)
        pressed = step(jnp.asarray(boards, jnp.int32), actions)
        assert [tuple(board) for board in pressed.tolist()] == [press(size, tuple(b), cell) for b in boards.tolist()]
        assert (step(pressed, actions) == boards).all()
    assert np.asarray(env.legal_actions(pressed[0])).tolist() == [True] * size**2


# --- Exact lengths.


@pytest.mark.parametrize(("size", "num_states", "diameter"), [(1, 2, 1), (2, 16, 4), (3, 512, 9), (4, 4_096, 7)])
def test_optimal_lengths_agree_with_search_for_every_board(size, num_states, diameter):
    distances = search(size)
    assert len(distances) == num_states and max(distances.values()) == diameter
    boards = list(itertools.product((0, 1), repeat=size**2))[:: 1 if size < 4 else 7]
    boards += list(distances)
    lengths = LightsOut(size=size).optimal_lengths(problems(boards))
    assert lengths.tolist() == [distances.get(board, -1) for board in boards]
    assert ((lengths == -1).sum() > 0) == (size == 4)


@pytest.mark.parametrize(("size", "count"), [(5, 30), (6, 8), (7, 4)])
def test_optimal_lengths_agree_with_light_chasing(size, count):
    env = LightsOut(size=size)
    drawn = sample(env, count)
    expected = [chase(size, tuple(board)) for board in drawn.start.tolist()]
    assert min(expected) > 0 and env.optimal_lengths(drawn).tolist() == expected
    random = np.random.default_rng(1).integers(0, 2, (12, size**2))
    expected = [chase(size, tuple(board)) for board in random.tolist()]
    assert env.optimal_lengths(problems(random)).tolist() == expected
    assert (-1 in expected) == (size == 5)  # 3 of 4 boards of 5x5 cannot be solved


def test_a_distance_depends_on_the_difference_alone():
    starts, goals = np.random.default_rng(0).integers(0, 2, (2, 200, 25))
    lengths = ENV.optimal_lengths(problems(starts, goals))
    assert lengths.tolist() == ENV.optimal_lengths(problems(goals, starts)).tolist()
    assert lengths.tolist() == ENV.optimal_lengths(problems(starts ^ goals)).tolist()
    assert 20 < (lengths >= 0).sum() < 80


def test_quiet_patterns_are_as_many_as_is_known_and_change_nothing():
    for size, dimension in enumerate(QUIET_DIMENSIONS, start=1):
        quiet = _equations(size).quiet
        assert quiet.shape == (dimension, size**2)
        for pattern in quiet.tolist():
            board = (0,) * size**2
            for cell in np.flatnonzero(pattern).tolist():
                board = press(size, board, cell)
            assert any(pattern) and not any(board)


def test_quiet_patterns_are_enumerated_up_to_2_to_the_16th_and_not_beyond():
    env = LightsOut(size=19)
    lit = env.step(env.initial_state(jax.random.key(0)), jnp.int32(40))
    assert env.optimal_lengths(problems([lit, lit * 0])).tolist() == [1, 0]
    large = LightsOut(size=30)  # 2^20 quiet patterns, OEIS A159257
    assert large.optimal_lengths(problems(np.zeros((2, 900), int))).tolist() == [-1, -1]
    lit = large.step(large.initial_state(jax.random.key(0)), jnp.int32(40))
    assert (large.problems_from_arrays({"start": np.asarray(lit[None])}).start[0] == lit).all()


def test_optimal_lengths_are_minus_one_where_they_cannot_be_known():
    dark, corner = np.zeros(25, int), np.eye(25, dtype=int)[0]
    mixed = problems([dark, corner, dark + 2, dark, dark - 1, dark], [dark, dark, dark, dark - 1, dark, corner])
    assert ENV.optimal_lengths(mixed).tolist() == [0, -1, -1, -1, -1, -1]
    opened = Goal(tokens=jnp.zeros((1, 25), jnp.int32), mask=jnp.ones((1, 25), bool).at[0, 3].set(False))
    assert ENV.optimal_lengths(Problem(start=jnp.zeros((1, 25), jnp.int32), goal=opened)).tolist() == [-1]


def test_the_distances_of_5x5_are_the_known_ones():
    quiet = [int("1010110101000001010110101", 2), int("1101100000110110000011011", 2)]
    presses = np.arange(2**25, dtype=np.uint32)
    lengths = np.bitwise_count(presses)
    for pattern in (quiet[0], quiet[1], quiet[0] ^ quiet[1]):
        lengths = np.minimum(lengths, np.bitwise_count(presses ^ np.uint32(pattern)))
    counts = np.bincount(lengths) // 4  # each board comes from four sets of presses
    assert counts.sum() == 2**23 and len(counts) == 16  # at most 15 presses
    assert counts[:4].tolist() == [1, 25, 300, 2_300]
    drawn = ENV.optimal_lengths(sample(ENV, 5_000))
    deviation = lengths.std() / 5_000**0.5
    assert drawn.mean() == pytest.approx(lengths.mean(), abs=5 * deviation)
    longest = int(np.argmax(lengths))
    board = (0,) * 25
    for cell in range(25):
        board = press(5, board, cell) if longest >> cell & 1 else board
    assert ENV.optimal_lengths(problems([board])).tolist() == [15]


# --- Problems.


def test_sampled_problems_are_uniform_over_the_solvable_boards():
    for size, seed in ((2, 0), (3, 1)):
        drawn = sample(LightsOut(size=size), 400 * 2**size**2 // 8, seed)
        boards, counts = np.unique(np.asarray(drawn.start), axis=0, return_counts=True)
        assert len(boards) == 2**size**2
        assert np.abs(counts - 50).max() < 5 * math.sqrt(50)
        assert not drawn.goal.tokens.any() and drawn.goal.mask.all()
    drawn = sample(LightsOut(size=4), 20_000)
    reached = {tuple(board) for board in np.unique(np.asarray(drawn.start), axis=0).tolist()}
    assert reached <= set(search(4)) and len(reached) > 4_000


def test_verify_accepts_a_shortest_plan_only():
    plan = [3, 7, 11, 24]
    board = (0,) * 25
    for cell in plan:
        board = press(5, board, cell)
    assert ENV.optimal_lengths(problems([board])).tolist() == [4]
    plans = [[*plan, -1, 3], [*plan[::-1], -1, -1], [*plan, 5, 5], [*plan[:-1], -1, 24, -1], [*plan, 0, -1]]
    plans += [[3, 7, 11, 25, -1, -1], [3, 7, 11, 23, -1, -1]]
    problem = jax.tree.map(lambda leaf: leaf[0], problems([board]))
    solved, lengths = jax.vmap(ENV.verify, in_axes=(None, 0))(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [True] * 3 + [False] * 4
    assert lengths.tolist() == [4, 4, 6, 3, 5, 4, 4]


@pytest.mark.parametrize("size", [0, -3])
def test_boards_without_cells_are_refused(size):
    with pytest.raises(ValueError, match=f"a size of at least 1, came {size}"):
        LightsOut(size=size)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (np.ones(25, int), None),
        (np.ones(24, int), "expected 25 lights, came shape [24]"),
        (np.arange(25), "must be 0 (off) or 1 (on), came 2 at cell 2"),
        (-np.eye(25, dtype=int)[4], "must be 0 (off) or 1 (on), came -1 at cell 4"),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_problems_from_arrays():
    cross = np.zeros((2, 25), np.uint8)
    cross[:, [7, 11, 12, 13, 17]] = 1
    built = ENV.problems_from_arrays({"start": cross})
    assert built.start.dtype == jnp.int32 and built.goal.mask.all() and not built.goal.tokens.any()
    assert ENV.optimal_lengths(built).tolist() == [1, 1]
    # Alone neither of these can be turned off, but one can be turned into the other.
    corners = np.eye(25, dtype=np.uint8)[[0, 4]]
    built = ENV.problems_from_arrays({"start": corners, "goal": corners[::-1]})
    assert (ENV.optimal_lengths(built) > 0).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"goal": np.zeros((1, 25), int)}, r"`start`, came the arrays \['goal'\]"),
        ({"start": np.zeros((1, 16), int)}, r"\[problems, 25\] for lights_out_5x5, came int64 of shape \[1, 16\]"),
        ({"start": np.zeros((1, 25))}, r"came float64 of shape \[1, 25\]"),
        ({"start": 2 * np.eye(25, dtype=int)}, "`start` of problem 0 .* came 2 at cell 0"),
        ({"start": np.tri(2, 25, -1, int)}, r"problem 1 has no solution: no presses lead from \[1, 0, .* to the goal"),
        ({"start": np.zeros((1, 25), int), "goal": np.eye(25, dtype=int)[:1]}, "problem 0 has no solution"),
        ({"start": np.zeros((1, 25), int), "goal": np.zeros((2, 25), int)}, "came 2 goals for 1 problems"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays(arrays)


@pytest.mark.skipif(not BENCHMARK.exists(), reason="the published problems are not part of the project")
def test_the_published_problems_are_solvable():
    env = LightsOut(size=7)
    with np.load(BENCHMARK, allow_pickle=False) as arrays:
        published = env.problems_from_arrays(dict(arrays))
    lengths = env.optimal_lengths(published)
    assert lengths.shape == (250,) and lengths.min() > 0
    for index in (0, 100):
        assert lengths[index] == chase(7, tuple(published.start[index].tolist()))
