import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.base import full_goal
from jepa.envs.sliding_tiles import SlidingTiles, build_distances
from jepa.types import Problem

ENV = SlidingTiles()
GOAL = np.array([1, 2, 3, 4, 5, 6, 7, 8, 0])


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts, jnp.int32), goal=full_goal(jnp.asarray(goals, jnp.int32)))


def search(goal: tuple[int, ...], rows: int, columns: int) -> dict[tuple[int, ...], int]:
    """Breadth-first search over tuples that shares nothing with the shipped code."""
    distances = {goal: 0}
    queue = collections.deque([goal])
    while queue:
        state = queue.popleft()
        blank = state.index(0)
        for cell in range(rows * columns):
            apart = abs(cell // columns - blank // columns) + abs(cell % columns - blank % columns)
            if apart == 1:
                board = list(state)
                board[blank], board[cell] = board[cell], 0
                if tuple(board) not in distances:
                    distances[tuple(board)] = distances[state] + 1
                    queue.append(tuple(board))
    return distances


# --- Dynamics.


def test_actions_move_the_blank():
    middle = jnp.array([1, 2, 3, 4, 0, 5, 6, 7, 8], jnp.int32)
    moved = jax.vmap(ENV.step, in_axes=(None, 0))(middle, jnp.arange(4))
    assert moved.tolist() == [
        [1, 0, 3, 4, 2, 5, 6, 7, 8],  # up
        [1, 2, 3, 4, 7, 5, 6, 0, 8],  # down
        [1, 2, 3, 0, 4, 5, 6, 7, 8],  # left
        [1, 2, 3, 4, 5, 0, 6, 7, 8],  # right
    ]


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 4), (4, 2)])
def test_legal_actions_keep_the_blank_on_the_board(rows, columns):
    env = SlidingTiles(rows=rows, columns=columns)
    step, legal_actions = jax.jit(env.step), jax.jit(env.legal_actions)
    for row, column in itertools.product(range(rows), range(columns)):
        state = jnp.asarray(np.insert(np.arange(1, rows * columns), row * columns + column, 0), jnp.int32)
        legal = [row > 0, row < rows - 1, column > 0, column < columns - 1]
        assert legal_actions(state).tolist() == legal
        for action in range(4):
            changed = (step(state, jnp.int32(action)) != state).any()
            assert changed == legal[action]


@pytest.mark.parametrize(("rows", "columns"), [(1, 8), (3, 1), (0, 0)])
def test_boards_too_narrow_are_refused(rows, columns):
    with pytest.raises(ValueError, match=f"{rows}x{columns}"):
        SlidingTiles(rows=rows, columns=columns)


# --- Distances.


KNOWN_COUNTS = {  # cell of the goal's blank -> number of states at each distance
    8: [  # a corner: OEIS A089473
        1, 2, 4, 8, 16, 20, 39, 62, 116, 152, 286, 396, 748, 1024, 1893, 2512, 4485, 5638, 9529, 10878,
        16993, 17110, 23952, 20224, 24047, 15578, 14560, 6274, 3910, 760, 221, 2,
    ],
    4: [  # the centre: OEIS A089474
        1, 4, 8, 8, 16, 32, 60, 72, 136, 200, 376, 512, 964, 1296, 2368, 3084, 5482, 6736, 11132, 12208,
        18612, 18444, 24968, 19632, 22289, 13600, 11842, 4340, 2398, 472, 148,
    ],
    1: [  # an edge: OEIS A089483
        1, 3, 5, 10, 14, 28, 42, 80, 108, 202, 278, 524, 726, 1348, 1804, 3283, 4193, 7322, 8596, 13930,
        14713, 21721, 19827, 25132, 18197, 18978, 9929, 7359, 2081, 878, 126, 2,
    ],
}  # fmt: skip


@pytest.mark.parametrize("blank", KNOWN_COUNTS)
def test_distance_table_has_the_known_counts(blank):
    table = build_distances(3, 3, blank)
    reachable = table[table >= 0]
    assert np.bincount(reachable).tolist() == KNOWN_COUNTS[blank]
    assert len(reachable) == 181_440


def test_mean_distance_to_the_usual_goal():
    counts = KNOWN_COUNTS[8]
    assert np.average(np.arange(32), weights=counts) == pytest.approx(21.97, abs=0.005)


@pytest.mark.parametrize(
    ("rows", "columns", "goal"),
    [
        (2, 2, (1, 2, 3, 0)),
        (2, 3, (1, 2, 3, 4, 5, 0)),
        (2, 3, (4, 0, 1, 5, 3, 2)),
        (3, 2, (0, 5, 4, 3, 2, 1)),
    ],
)
def test_optimal_lengths_agree_with_search_for_every_arrangement(rows, columns, goal):
    env = SlidingTiles(rows=rows, columns=columns)
    distances = search(goal, rows, columns)
    starts = list(itertools.permutations(range(rows * columns)))
    lengths = env.optimal_lengths(problems(starts, [goal] * len(starts)))
    assert lengths.tolist() == [distances.get(start, -1) for start in starts]
    assert 2 * len(distances) == len(starts)


def test_optimal_lengths_for_mixed_goals():
    generator = np.random.default_rng(0)
    starts, goals = generator.permuted(np.tile(np.arange(9), (2, 40, 1)), axis=2)
    forwards, backwards = (
        ENV.optimal_lengths(problems(starts, goals)),
        ENV.optimal_lengths(problems(goals, starts)),
    )
    assert forwards.tolist() == backwards.tolist()
    alone = [ENV.optimal_lengths(problems(starts[i : i + 1], goals[i : i + 1]))[0] for i in range(40)]
    assert forwards.tolist() == alone
    assert 5 < (forwards == -1).sum() < 35  # half of all pairs lie on different sides


def test_optimal_lengths_are_minus_one_where_there_is_no_way():
    invalid, swapped = np.zeros(9, int), np.array([2, 1, 3, 4, 5, 6, 7, 8, 0])
    mixed = problems([invalid, GOAL, swapped, GOAL], [GOAL, invalid, GOAL, GOAL])
    assert ENV.optimal_lengths(mixed).tolist() == [-1, -1, -1, 0]
    large = SlidingTiles(rows=4, columns=4)
    goal = large.initial_state(jax.random.key(0))[None]
    assert large.optimal_lengths(problems(goal, goal)).tolist() == [0]


def test_sampled_problems_are_uniform_over_the_solvable_states():
    env = SlidingTiles(rows=2, columns=2)
    keys = jax.random.split(jax.random.key(0), 6_000)
    starts = np.asarray(jax.jit(jax.vmap(env.sample_problem))(keys).start)
    states, counts = np.unique(starts, axis=0, return_counts=True)
    assert {tuple(state) for state in states.tolist()} == set(search((1, 2, 3, 0), 2, 2))
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)
    problems_3x3 = jax.jit(jax.vmap(ENV.sample_problem))(keys[:2_000])
    lengths = ENV.optimal_lengths(problems_3x3)
    assert lengths.min() >= 0
    # The standard deviation of a length is 3.4, that of this mean 0.08.
    assert lengths.mean() == pytest.approx(21.97, abs=0.4)


def test_verify_accepts_an_optimal_plan_only():
    verify = jax.jit(jax.vmap(ENV.verify, in_axes=(None, 0)))
    successors_of = jax.jit(jax.vmap(ENV.step, in_axes=(None, 0)))
    problem = ENV.sample_problem(jax.random.key(3))
    state, plan = problem.start, []
    while not (np.asarray(state) == GOAL).all():
        successors = successors_of(state, jnp.arange(4))
        plan.append(int(ENV.optimal_lengths(problems(successors, [GOAL] * 4)).argmin()))
        state = successors[plan[-1]]
    assert len(plan) == ENV.optimal_lengths(problems(problem.start[None], [GOAL]))[0] > 10
    plans = [[*plan, -1, 1], [*plan, 0, 1], [*plan, 1, -1]]  # the last one bumps into the border
    for position in range(len(plan)):
        for wrong in {*range(4), 9, -1} - {plan[position]}:
            plans.append([*plan, -1, -1])
            plans[-1][position] = wrong
    solved, lengths = verify(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [True, True] + [False] * (len(plans) - 2)
    assert lengths[:2].tolist() == [len(plan), len(plan) + 2]


# --- States and problems from outside.


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (GOAL, None),
        (GOAL[::-1].copy(), None),
        (GOAL[:8], r"expected 9 cells, came shape [8]"),
        (np.array([1, 1, 2, 3, 4, 5, 6, 7, 0]), "must occur once"),
        (GOAL + 1, "must occur once"),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_problems_from_arrays():
    starts = np.array([[1, 2, 3, 4, 5, 6, 7, 0, 8], [1, 2, 3, 4, 5, 6, 0, 7, 8]], np.uint8)
    assert ENV.optimal_lengths(ENV.problems_from_arrays({"start": starts})).tolist() == [1, 2]
    built = ENV.problems_from_arrays({"start": starts, "goal": starts[::-1]})
    assert ENV.optimal_lengths(built).tolist() == [1, 1]
    assert built.start.dtype == jnp.int32 and built.goal.mask.all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"goal": GOAL[None]}, r"`start`, came the arrays \['goal'\]"),
        ({"start": GOAL}, r"\[problems, 9\] for sliding_tiles_3x3, came int64 of shape \[9\]"),
        ({"start": np.arange(16)[None]}, r"came int64 of shape \[1, 16\]"),
        ({"start": np.stack([GOAL, GOAL % 8])}, "`start` of problem 1 .* must occur once"),
        ({"start": np.stack([GOAL, GOAL[[1, 0, *range(2, 9)]]])}, "problem 1 has no solution"),
        ({"start": GOAL[None], "goal": GOAL[[1, 0, *range(2, 9)]][None]}, "problem 0 has no solution"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays(arrays)


def test_solvability_is_judged_right_for_every_pair_of_blanks():
    env = SlidingTiles(rows=2, columns=3)
    arrangements = np.random.default_rng(0).permuted(np.tile(np.arange(6), (2, 100, 1)), axis=2)
    for start, goal, length in zip(*arrangements, env.optimal_lengths(problems(*arrangements)), strict=True):
        arrays = {"start": start[None], "goal": goal[None]}
        if length >= 0:
            assert env.optimal_lengths(env.problems_from_arrays(arrays)) == [length]
        else:
            with pytest.raises(ValueError, match="no solution"):
                env.problems_from_arrays(arrays)


def test_render():
    assert ENV.render(GOAL) == "1 2 3\n4 5 6\n7 8 ."
    wide = SlidingTiles(rows=2, columns=6)
    assert wide.render(np.arange(12)) == " .  1  2  3  4  5\n 6  7  8  9 10 11"
