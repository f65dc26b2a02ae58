import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import GoalKind
from jepa.envs.sudoku import Sudoku, is_test_solution
from jepa.envs.sudoku_solver import fill_singles, solutions, unit_cells
from jepa.types import Goal, Problem

SMALL, LARGE, TALL = Sudoku(), Sudoku(box_columns=3), Sudoku(box_rows=3)
ENVS = pytest.mark.parametrize("env", [SMALL, LARGE, TALL], ids=lambda env: env.name)
KEYS = jax.random.split(jax.random.key(0), 2_000)

EMPTY = np.zeros(16, int)
SOLVED = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1])
PUZZLE = np.array([1, 0, 0, 4, 0, 0, 1, 0, 0, 1, 0, 0, 4, 0, 0, 1])
DEAD_END = np.array([0, 2, 3, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 4])  # no cell for the 4 of row 1
HARD = np.array(
    [0, 0, 3, 0, 0, 6, 0, 6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 4, 0, 1, 2, 2, 0, 0, 0, 0, 0, 0, 4, 1, 2, 0, 3]
)  # one solution, but no cell with only one digit and no digit with only one cell that would lead to it


@functools.cache
def batched(function):
    return jax.jit(jax.vmap(function))


def with_count(boards, env=SMALL) -> np.ndarray:
    boards = np.asarray(boards)
    return np.concatenate([boards, env.size + 1 + (boards == 0).sum(axis=-1, keepdims=True)], axis=-1)


def lengths(boards, env=SMALL) -> list[int]:
    return env.optimal_lengths(env.problems_from_arrays({"start": np.asarray(boards)})).tolist()


# --- A second implementation, cell by cell, that shares nothing with the shipped code.


def same_box(env: Sudoku, a: int, b: int) -> bool:
    (row, column), (other_row, other_column) = divmod(a, env.size), divmod(b, env.size)
    same_band = row // env.box_rows == other_row // env.box_rows
    return same_band and column // env.box_columns == other_column // env.box_columns


def clash(env: Sudoku, a: int, b: int) -> bool:
    return a // env.size == b // env.size or a % env.size == b % env.size or same_box(env, a, b)


@functools.cache
def peers(env: Sudoku) -> list[list[int]]:
    cells = range(env.size**2)
    return [[b for b in cells if b != a and clash(env, a, b)] for a in cells]


def allowed(env: Sudoku, board: list[int], cell: int) -> list[int]:
    seen = {board[peer] for peer in peers(env)[cell]}
    return [digit for digit in range(1, env.size + 1) if digit not in seen and board[cell] == 0]


def completions(env: Sudoku, board: list[int], limit: int) -> list[list[int]]:
    """Up to so many solutions, by filling the first of the cells with the fewest digits."""
    options = [(len(allowed(env, board, cell)), cell) for cell in range(env.size**2) if board[cell] == 0]
    if not options:
        return [board]
    cell, found = min(options)[1], []
    for digit in allowed(env, board, cell):
        if len(found) < limit:
            found += completions(env, [*board[:cell], digit, *board[cell + 1 :]], limit - len(found))
    return found


@functools.cache
def grids() -> np.ndarray:
    """The full 4x4 boards: those of all 24^4 stacks of four permutations that keep the rules."""
    rows = list(itertools.permutations(range(1, 5)))
    boards = []
    for first, second in itertools.product(rows, repeat=2):
        if len({*first[:2], *second[:2]}) == len({*first[2:], *second[2:]}) == 4:
            boards.append((*first, *second))
    halves = [np.array(boards)[:, None], np.array(boards)[None]]
    pairs = np.broadcast_arrays(*halves)
    full = np.concatenate(pairs, axis=-1).reshape(-1, 16)
    columns = np.sort(full.reshape(-1, 4, 4), axis=1)
    return full[(columns == np.arange(1, 5)[:, None]).all(axis=(1, 2))].astype(np.int8)


def matches(boards) -> np.ndarray:
    """[board, grid]: which of the full 4x4 boards each board can still become."""
    boards = np.asarray(boards, np.int8)[:, None]
    return ((boards == 0) | (boards == grids())).all(axis=-1)


@functools.cache
def training_walks(env: Sudoku) -> np.ndarray:
    num_walks = 2_000 if env is SMALL else 64
    length = env.num_cells - 3 * env.num_cells // 8
    return collect_walks(env, RandomWalks(walk_length=length), length * num_walks, seed=0).states


@functools.cache
def sampled_problems(env: Sudoku) -> Problem:
    return batched(env.sample_problem)(KEYS if env is SMALL else KEYS[:64])


def sampled_starts(env: Sudoku) -> np.ndarray:
    return np.asarray(sampled_problems(env).start)


def goal_of(env: Sudoku) -> Goal:
    return jax.tree.map(lambda leaf: leaf[0], sampled_problems(env).goal)


# --- Rules and dynamics.


def test_actions_by_hand():
    legal = dict(zip(SMALL.action_names, batched(SMALL.legal_actions)(with_count([PUZZLE]))[0].tolist(), strict=True))
    possible = {name for name, is_legal in legal.items() if is_legal}
    assert {name for name in possible if name[:2] == "r1"} == {"r1c2=2", "r1c2=3", "r1c3=2", "r1c3=3"}
    assert {name for name in possible if name[:4] == "r2c2"} == {"r2c2=2", "r2c2=3", "r2c2=4"}
    state = jnp.asarray(with_count(PUZZLE), jnp.int32)
    after = SMALL.step(state, jnp.int32(SMALL.action_names.index("r1c3=2")))
    assert after.tolist() == [1, 0, 2, 4, *PUZZLE[4:].tolist(), 5 + 9]
    for name in ("r1c1=2", "r1c2=4", "r1c3=1"):  # a full cell, the same row, the same box
        assert (SMALL.step(state, jnp.int32(SMALL.action_names.index(name))) == state).all()


def test_boxes_by_hand():
    assert unit_cells(2, 2)[8:].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert unit_cells(2, 3)[12:15].tolist() == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11], [12, 13, 14, 18, 19, 20]]
    assert unit_cells(3, 2)[12:15].tolist() == [[0, 1, 6, 7, 12, 13], [2, 3, 8, 9, 14, 15], [4, 5, 10, 11, 16, 17]]


@ENVS
def test_every_action_agrees_with_the_second_implementation(env):
    states = training_walks(env)[:64].reshape(-1, env.num_tokens)[::13]
    over_actions = jax.vmap(env.step, in_axes=(None, 0))
    successors = np.asarray(jax.jit(jax.vmap(over_actions, in_axes=(0, None)))(states, jnp.arange(env.num_actions)))
    legal = np.asarray(batched(env.legal_actions)(states)).reshape(-1, env.num_cells, env.size)
    for state, after, possible in zip(states.tolist(), successors.tolist(), legal, strict=True):
        board, expected = state[:-1], []
        assert state[-1] == env.size + 1 + board.count(0)
        for cell in range(env.num_cells):
            digits = allowed(env, board, cell)
            assert (np.flatnonzero(possible[cell]) + 1).tolist() == digits
            for digit in range(1, env.size + 1):
                written = [*board[:cell], digit, *board[cell + 1 :], state[-1] - 1]
                expected.append(written if digit in digits else state)
        assert after == expected


@ENVS
def test_walks_keep_the_rules(env):
    for state in training_walks(env)[:64, [0, 3, -1]].reshape(-1, env.num_tokens):
        assert env.invalid_reason(state) is None


def test_names_and_sizes():
    assert [env.name for env in (SMALL, LARGE, TALL)] == ["sudoku_4x4", "sudoku_6x6", "sudoku_6x6_boxes_3x2"]
    assert (SMALL.num_tokens, SMALL.vocab_size, SMALL.num_actions) == (17, 22, 64)
    assert (LARGE.num_tokens, LARGE.vocab_size, LARGE.num_actions) == (37, 44, 216)
    assert LARGE.action_names[6 * 8 + 3] == "r2c3=4"
    assert SMALL.goal_kind is GoalKind.PREDICATE and not SMALL.is_reversible and SMALL.grid_shape is None


@pytest.mark.parametrize(("box_rows", "box_columns"), [(1, 4), (3, 3), (0, 2), (2, 4)])
def test_other_boxes_are_refused(box_rows, box_columns):
    with pytest.raises(ValueError, match=f"2x2, 2x3, 3x2 cells, came {box_rows}x{box_columns}"):
        Sudoku(box_rows=box_rows, box_columns=box_columns)


# --- Solutions, and how they are split.


def test_all_288_solutions_of_4x4():
    assert len(grids()) == 288
    renamings = [np.array([0, *names])[solutions(2, 2)] for names in itertools.permutations(range(1, 5))]
    assert {tuple(row) for row in np.concatenate(renamings).tolist()} == {tuple(row) for row in grids().tolist()}


@pytest.mark.parametrize(("box_rows", "box_columns"), [(2, 3), (3, 2)])
def test_solutions_of_6x6(box_rows, box_columns):
    boards = solutions(box_rows, box_columns)
    # Counted by E. Russell for 2x3 boxes ("Mathematics of Sudoku", Wikipedia).
    assert len(np.unique(boards, axis=0)) * math.factorial(6) == 28_200_960
    env = Sudoku(box_rows=box_rows, box_columns=box_columns)
    assert all(env.invalid_reason(with_count(board, env)) is None for board in boards[::97])
    assert (boards[:, :6] == np.arange(1, 7)).all() and (boards > 0).all()


def test_tall_boxes_are_wide_ones_transposed():
    turned = solutions(3, 2).reshape(-1, 6, 6).swapaxes(1, 2)
    names = np.argsort(turned[:, 0], axis=1) + 1
    renamed = np.take_along_axis(names, turned.reshape(-1, 36) - 1, axis=1)
    assert {row.tobytes() for row in renamed.astype(np.int8)} == {row.tobytes() for row in solutions(2, 3)}


def test_halves_are_pinned():
    # Records of training walks stay apart from the test problems of later versions only if nothing moves.
    assert np.flatnonzero(is_test_solution(solutions(2, 2))).tolist() == [3, 5, 7, 8, 10]
    assert [is_test_solution(solutions(*boxes)).sum() for boxes in ((2, 3), (3, 2))] == [19_710, 19_574]


@pytest.mark.parametrize("env", [SMALL, LARGE], ids=lambda env: env.name)
def test_renaming_digits_does_not_change_the_half(env):
    boards = solutions(env.box_rows, env.box_columns)[::7].astype(int)
    names = np.random.default_rng(0).permuted(np.tile(np.arange(1, env.size + 1), (len(boards), 1)), axis=1)
    renamed = np.take_along_axis(names, boards - 1, axis=1)
    assert (renamed != boards).any() and (is_test_solution(renamed) == is_test_solution(boards)).all()


def test_no_board_of_training_leads_to_a_solution_of_tests():
    states = np.unique(training_walks(SMALL).reshape(-1, 17), axis=0)
    possible, is_test = matches(states[:, :-1]), is_test_solution(grids())
    assert not possible[:, is_test].any()
    assert possible.sum(axis=1).max() == 1
    assert set(np.flatnonzero(possible.any(axis=0))) == set(np.flatnonzero(~is_test))  # and every other one is met
    starts = sampled_starts(SMALL)
    leads_to = matches(starts[:, :-1])
    assert (leads_to.sum(axis=1) == 1).all() and leads_to[:, is_test].any(axis=1).all()
    assert not {tuple(row) for row in starts.tolist()} & {tuple(row) for row in states.tolist()}


@pytest.mark.parametrize("env", [LARGE, TALL], ids=lambda env: env.name)
def test_puzzles_of_6x6_have_one_solution_in_the_right_half(env):
    training, tests = training_walks(env)[:, 0], sampled_starts(env)
    for starts, is_test in ((training, False), (tests, True)):
        found = [completions(env, board, 2) for board in starts[:, :-1].tolist()]
        assert {len(boards) for boards in found} == {1}
        assert (is_test_solution(np.concatenate(found)) == is_test).all()


# --- Puzzles.


def test_solutions_and_numbers_of_givens_are_uniform():
    starts = sampled_starts(SMALL)
    counts = matches(starts[:, :-1]).sum(axis=0)
    mean = len(KEYS) / 120
    assert (counts > 0).sum() == 120 and np.abs(counts[counts > 0] - mean).max() < 5 * np.sqrt(mean)
    for states, givens in ((starts, range(6, 9)), (training_walks(SMALL)[:, 0], range(6, 16))):
        drawn, counts = np.unique((states[:, :-1] > 0).sum(axis=1), return_counts=True)
        mean = len(states) / len(givens)
        assert drawn.tolist() == list(givens) and np.abs(counts - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize("env", [LARGE, TALL], ids=lambda env: env.name)
def test_numbers_of_givens_on_6x6(env):
    for states, most in ((sampled_starts(env), 18), (training_walks(env)[:, 0], 35)):
        givens = (states[:, :-1] > 0).sum(axis=1)
        assert 13 <= givens.min() < 15 and most - 2 < givens.max() <= most


def test_singles_solve_exactly_the_4x4_boards_with_one_solution():
    boards = np.random.default_rng(0).permuted(np.tile(np.arange(16), (6_000, 1)), axis=1)
    is_given = boards < np.random.default_rng(1).integers(3, 13, size=(6_000, 1))
    boards = np.where(is_given, grids()[np.arange(6_000) % 288], 0)
    num_solutions = matches(boards).sum(axis=1)
    filled = np.asarray(batched(lambda board: fill_singles(board, 2, 2))(boards))
    assert ((filled > 0).all(axis=1) == (num_solutions == 1)).all()
    assert 1_000 < (num_solutions == 1).sum() < 5_000
    assert ((filled == grids()[np.arange(6_000) % 288]) | (filled == 0)).all()  # and never write a wrong digit


@functools.cache
def units_around(env: Sudoku, cell: int) -> list[list[int]]:
    cells = range(env.size**2)
    return [
        [c for c in cells if c // env.size == cell // env.size],
        [c for c in cells if c % env.size == cell % env.size],
        [c for c in cells if same_box(env, c, cell)],
    ]


def singles_by_hand(env: Sudoku, board: list[int]) -> list[int]:
    """One forced digit after the other; their order does not matter."""
    cells = range(env.size**2)
    options = [allowed(env, board, cell) for cell in cells]
    for cell in cells:
        for digit in options[cell]:
            is_only_cell = any(sum(digit in options[c] for c in unit) == 1 for unit in units_around(env, cell))
            if is_only_cell or len(options[cell]) == 1:
                return singles_by_hand(env, [*board[:cell], digit, *board[cell + 1 :]])
    return board


@pytest.mark.parametrize("env", [LARGE, TALL], ids=lambda env: env.name)
def test_singles_of_6x6_agree_with_the_second_implementation(env):
    generator = np.random.default_rng(0)
    boards = generator.permuted(np.tile(np.arange(36), (20, 1)), axis=1) < generator.integers(10, 16, size=(20, 1))
    boards = np.where(boards, solutions(env.box_rows, env.box_columns)[generator.integers(39_168, size=20)], 0)
    filled = batched(lambda board: fill_singles(board, env.box_rows, env.box_columns))(boards).tolist()
    assert filled == [singles_by_hand(env, board) for board in boards.tolist()]
    assert 0 < sum(0 in board for board in filled) < 20


def test_some_boards_take_more_than_singles():
    assert len(completions(LARGE, HARD.tolist(), 2)) == 1
    assert (jax.jit(lambda board: fill_singles(board, 2, 3))(HARD) == 0).any()
    assert lengths([HARD], LARGE) == [24]


def finished(env: Sudoku, starts: np.ndarray, num_actions: int, seed: int) -> np.ndarray:
    """Which starts random legal actions complete."""
    choose = functools.partial(RandomWalks().choose_action, env)

    def walk(state, key):
        def act(state, key):
            return env.step(state, choose(key, state, state)), None

        return jax.lax.scan(act, state, jax.random.split(key, num_actions))[0]

    ends = batched(walk)(starts, jax.random.split(jax.random.key(seed), len(starts)))
    return np.asarray(ends)[:, -1] == env.size + 1


def test_how_often_random_actions_get_to_the_end():
    assert (training_walks(SMALL)[:, -1, -1] == 5).mean() == pytest.approx(0.70, abs=0.03)
    starts = np.tile(sampled_starts(SMALL), (3, 1))
    solved, givens = finished(SMALL, starts, 10, seed=1), (starts[:, :-1] > 0).sum(axis=1)
    # The standard deviation of each of these shares is 0.01.
    assert [solved[givens == number].mean() for number in (6, 7, 8)] == pytest.approx([0.19, 0.29, 0.44], abs=0.04)


# --- Lengths and goals.


def test_optimal_lengths_agree_with_the_288_solutions():
    states = np.unique(training_walks(SMALL)[:100].reshape(-1, 17), axis=0)
    can_be_completed = matches(states[:, :-1]).any(axis=1)
    expected = np.where(can_be_completed, (states[:, :-1] == 0).sum(axis=1), -1)
    assert lengths(states[:, :-1]) == expected.tolist()
    assert 100 < can_be_completed.sum() < len(states) - 100


@pytest.mark.parametrize("env", [LARGE, TALL], ids=lambda env: env.name)
def test_optimal_lengths_of_6x6_agree_with_search(env):
    boards = training_walks(env)[:, ::4, :-1].reshape(-1, 36)
    expected = [board.count(0) if completions(env, board, 1) else -1 for board in boards.tolist()]
    assert lengths(boards, env) == expected
    assert 20 < expected.count(-1) < len(expected) - 20


def test_optimal_lengths_by_hand():
    assert len(completions(SMALL, PUZZLE.tolist(), 3)) == 2
    assert lengths([EMPTY, SOLVED, PUZZLE, DEAD_END]) == [16, 0, 10, -1]
    assert batched(SMALL.legal_actions)(with_count([DEAD_END])).any()  # though moves are left
    assert lengths([np.zeros(36, int)], LARGE) == [36]


def test_optimal_lengths_are_minus_one_where_there_is_no_problem():
    broken = np.array([1, 1, *[0] * 14, 5 + 14])
    miscounted = np.array([*PUZZLE, 5])
    too_large = np.array([*[0] * 15, 7, 5 + 15])
    full = with_count(np.roll(SOLVED, 1))  # every row breaks a rule
    starts = np.stack([with_count(SOLVED), broken, miscounted, too_large, full]).astype(np.int32)
    goal = goal_of(SMALL)
    assert SMALL.optimal_lengths(Problem(start=starts, goal=tile(goal, 5))).tolist() == [0, -1, -1, -1, -1]
    for other in (
        Goal(tokens=goal.tokens + 1, mask=goal.mask),  # one cell is empty
        Goal(tokens=goal.tokens, mask=goal.mask.at[0].set(True)),
        Goal(tokens=goal.tokens, mask=jnp.zeros(17, bool)),
    ):
        assert SMALL.optimal_lengths(Problem(start=starts[:1], goal=tile(other, 1))).tolist() == [-1]


def tile(goal: Goal, num_problems: int) -> Goal:
    return jax.tree.map(lambda leaf: jnp.tile(leaf, (num_problems, 1)), goal)


@ENVS
def test_the_goal_is_a_full_board_and_nothing_else(env):
    goal = goal_of(env)
    assert np.flatnonzero(goal.mask).tolist() == [env.num_cells] and goal.tokens[-1] == env.size + 1
    full = with_count(solutions(env.box_rows, env.box_columns)[5], env).astype(np.int32)
    assert env.is_solved(jnp.asarray(full), goal)
    states = training_walks(env).reshape(-1, env.num_tokens)
    solved = batched(lambda state: env.is_solved(state, goal))(states)
    assert (np.asarray(solved) == (states[:, :-1] > 0).all(axis=1)).all() and 0 < solved.sum() < len(states)
    assert (env.hindsight_mask(jnp.asarray(full), KEYS[0]) == goal.mask).all()


@ENVS
def test_the_solution_is_a_plan_in_any_order_and_nothing_else_is(env):
    problem = Problem(start=jnp.asarray(sampled_starts(env)[1]), goal=goal_of(env))
    board = np.asarray(problem.start)[:-1]
    (solution,) = completions(env, board.tolist(), 2)
    cells = np.flatnonzero(board == 0)
    plan = cells * env.size + np.array(solution)[cells] - 1
    shuffled = np.random.default_rng(0).permutation(plan)
    repeated, wrong = np.append(plan[:-1], plan[0]), plan.copy()
    wrong[-1] += 1 if solution[cells[-1]] < env.size else -1
    plans = [plan, plan[::-1], shuffled, repeated, wrong, np.append(plan[:-1], -1)]
    solved, num_actions = jax.vmap(env.verify, in_axes=(None, 0))(problem, jnp.asarray(np.stack(plans), jnp.int32))
    assert solved.tolist() == [True, True, True, False, False, False]
    assert num_actions[0] == len(cells) == env.optimal_lengths(jax.tree.map(lambda leaf: leaf[None], problem))[0]


# --- States and problems from outside.


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (with_count(PUZZLE), None),
        (with_count(DEAD_END), None),
        (PUZZLE, "expected 16 cells and the number of empty ones, came shape [16]"),
        (with_count(SOLVED + 1), "expected 0 (empty) or digits up to 4 in every cell, came [2, 3, 4, 5"),
        (with_count(EMPTY - 1), "digits up to 4 in every cell, came [-1"),
        (with_count([*EMPTY[:4], 3, 0, 0, 3, *EMPTY[8:]]), "the digit 3 occurs 2 times in row 2"),
        (with_count([0, 2, 0, 0, *EMPTY[4:12], 0, 2, 0, 0]), "the digit 2 occurs 2 times in column 2"),
        (with_count([*EMPTY[:10], 1, 0, 0, 0, 0, 1]), "the digit 1 occurs 2 times in box 4"),
        (np.append(PUZZLE, 9), "expected the last token 15, for 10 empty cells, came 9"),
    ],
)
def test_invalid_reason(state, reason):
    came = SMALL.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_problems_from_arrays():
    built = SMALL.problems_from_arrays({"start": np.stack([PUZZLE, SOLVED]).astype(np.uint8)})
    assert built.start.dtype == jnp.int32 and built.start.tolist() == with_count([PUZZLE, SOLVED]).tolist()
    assert built.goal.tokens.tolist() == 2 * [[0] * 16 + [5]]
    assert built.goal.mask.tolist() == 2 * [[False] * 16 + [True]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"goal": PUZZLE[None]}, r"expected an array `start`, came the arrays \['goal'\]"),
        ({"start": PUZZLE}, r"\[problems, 16\] for sudoku_4x4, came int64 of shape \[16\]"),
        ({"start": with_count([PUZZLE])}, r"\[problems, 16\] for sudoku_4x4, came int64 of shape \[1, 17\]"),
        ({"start": PUZZLE[None] / 2}, r"integers .* came float64 of shape \[1, 16\]"),
        ({"start": np.zeros((0, 16), int)}, r"came int64 of shape \[0, 16\]"),
        ({"start": np.stack([PUZZLE, SOLVED + 1])}, "`start` of problem 1 is not a state .* digits up to 4"),
        ({"start": np.stack([PUZZLE, EMPTY, EMPTY + 2])}, "`start` of problem 2 .* digit 2 occurs 4 times in row 1"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        SMALL.problems_from_arrays(arrays)


def test_render():
    assert SMALL.render(with_count(PUZZLE)) == "1 . | . 4\n. . | 1 .\n----+----\n. 1 | . .\n4 . | . 1"
    assert LARGE.render(with_count(HARD, LARGE)).splitlines()[1:4] == [
        ". 6 . | . . .",
        "------+------",
        ". . . | 5 . .",
    ]
    tall = TALL.render(with_count(solutions(3, 2)[0], TALL)).splitlines()
    assert tall[0] == "1 2 | 3 4 | 5 6" and tall[3] == "----+-----+----" and len(tall) == 7
