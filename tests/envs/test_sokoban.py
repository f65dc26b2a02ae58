import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.behaviours import NonBacktrackingWalks
from jepa.dataset import collect_walks
from jepa.envs.base import GoalKind
from jepa.envs.sokoban import Sokoban
from jepa.envs.sokoban_levels import MIN_PUSHES, border_cells, is_test_layout
from jepa.envs.sokoban_solver import shortest_solution_length
from jepa.types import Goal, Problem

ENV = Sokoban()
ALL_LAYOUTS = 300  # two walls in 25 cells


def board(*rows: str) -> np.ndarray:
    """A 7x7 state from its five inner rows; `.` is floor."""
    inner = np.array([[".#$@".index(symbol) for symbol in row] for row in rows])
    assert inner.shape == (5, 5)
    return np.pad(inner, 1, constant_values=1).ravel()


def corner_cuts() -> set[frozenset[int]]:
    """The only pairs of inner walls that cut the floor in two: both neighbours of a corner cell."""
    return {frozenset(pair) for pair in ((9, 15), (11, 19), (29, 37), (33, 39))}


def move(state: tuple[int, ...], size: int, down: int, right: int) -> tuple[int, ...] | None:
    """The rules once more, in rows and columns; None where nothing moves."""
    cells = {(i // size, i % size): token for i, token in enumerate(state)}
    ((row, column),) = (place for place, token in cells.items() if token == 3)
    ahead, beyond = (row + down, column + right), (row + 2 * down, column + 2 * right)
    if cells[ahead] == 2 and cells.get(beyond) == 0:
        cells[beyond], cells[ahead] = 2, 0
    if cells[ahead] != 0:
        return None
    cells[row, column], cells[ahead] = 0, 3
    return tuple(cells[i // size, i % size] for i in range(size * size))


WAYS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def lengths_of_all_states(state: np.ndarray, targets: set[int]) -> dict[tuple[int, ...], int]:
    """The length of every arrangement of player and boxes on a level, by search backwards from all solved ones."""
    walls = np.where(state == 1, 1, 0)
    floor = np.flatnonzero(walls == 0).tolist()
    num_boxes = int((state == 2).sum())
    before, lengths = collections.defaultdict(list), {}
    for boxes in itertools.combinations(floor, num_boxes):
        for player in set(floor) - set(boxes):
            arranged = walls.copy()
            arranged[list(boxes)], arranged[player] = 2, 3
            node = tuple(arranged.tolist())
            lengths[node] = 0 if targets <= set(boxes) else -1
            for way in WAYS:
                if (successor := move(node, 7, *way)) is not None:
                    before[successor].append(node)
    queue = collections.deque(node for node, length in lengths.items() if length == 0)
    while queue:
        node = queue.popleft()
        for previous in before[node]:
            if lengths[previous] < 0:
                lengths[previous] = lengths[node] + 1
                queue.append(previous)
    return lengths


def goal_at(*cells: int) -> np.ndarray:
    goal = np.zeros(49, int)
    goal[list(cells)] = 2
    return goal


def problems(starts, goals) -> Problem:
    tokens = jnp.asarray(np.stack(goals), jnp.int32)
    return Problem(start=jnp.asarray(np.stack(starts), jnp.int32), goal=Goal(tokens=tokens, mask=tokens == 2))


@pytest.fixture(scope="module")
def drawn() -> Problem:
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(ENV.sample_problem))(jax.random.split(jax.random.key(7), 1_200)))


@pytest.fixture(scope="module")
def walks():
    return collect_walks(ENV, NonBacktrackingWalks(walk_length=64), 64 * 300, seed=0)


@pytest.fixture(scope="module")
def initial_states() -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(ENV.initial_state))(jax.random.split(jax.random.key(0), 2_000)))


# --- Dynamics.

MIDDLE = board("..$..", ".....", "$.@$#", "..$..", ".....")


def test_actions_move_the_player_and_push_one_box():
    state = jnp.asarray(MIDDLE, jnp.int32)
    moved = np.asarray(jax.vmap(ENV.step, in_axes=(None, 0))(state, jnp.arange(4)))
    assert moved.tolist() == [
        board("..$..", "..@..", "$..$#", "..$..", ".....").tolist(),  # walks up
        board("..$..", ".....", "$..$#", "..@..", "..$..").tolist(),  # pushes down
        board("..$..", ".....", "$@.$#", "..$..", ".....").tolist(),  # walks left
        MIDDLE.tolist(),  # the box on the right is against a wall
    ]
    assert ENV.legal_actions(state).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("state", "legal"),
    [
        (board("@....", ".$...", "..$..", ".....", "....."), [False, True, False, True]),  # at the border
        (board("@$$..", ".....", ".....", ".....", "....."), [False, True, False, False]),  # two boxes in a row
        (board("$@$..", "#####", ".....", ".....", "....."), [False, False, False, True]),  # a box against the border
        (board("@$#..", "$....", "#....", ".....", "....."), [False, False, False, False]),  # locked in
    ],
)
def test_legal_actions(state, legal):
    state = jnp.asarray(state, jnp.int32)
    assert ENV.legal_actions(state).tolist() == legal
    changed = (jax.vmap(ENV.step, in_axes=(None, 0))(state, jnp.arange(4)) != state).any(axis=1)
    assert changed.tolist() == legal


def test_dynamics_agree_with_the_rules_in_rows_and_columns(walks):
    states = np.unique(walks.states[:50].reshape(-1, 49), axis=0)
    over_actions = jax.vmap(ENV.step, in_axes=(None, 0))
    successors = np.asarray(jax.jit(jax.vmap(over_actions, in_axes=(0, None)))(states, jnp.arange(4)))
    legal = np.asarray(jax.jit(jax.vmap(ENV.legal_actions))(states))
    num_pushes = 0
    for state, after, allowed in zip(states, successors, legal, strict=True):
        for action, way in enumerate(WAYS):
            expected = move(tuple(state.tolist()), 7, *way)
            assert allowed[action] == (expected is not None)
            assert after[action].tolist() == (state.tolist() if expected is None else list(expected))
            num_pushes += ((after[action] == 2) != (state == 2)).any()
    assert len(states) > 1_000 and num_pushes > 200


def test_random_walks_push_boxes(walks):
    boxes = walks.states == 2
    pushes = (boxes[:, 1:] != boxes[:, :-1]).any(axis=-1).sum(axis=1)
    assert pushes.mean() > 3 and (pushes == 0).mean() < 0.05
    assert walks.legal_actions.any(axis=-1).mean() > 0.99  # a player locks itself in almost never


# --- Levels and their splits.


def layouts_of(states: np.ndarray) -> set[frozenset[int]]:
    inner = (states == 1) & ~border_cells(7)
    return {frozenset(np.flatnonzero(walls).tolist()) for walls in np.unique(inner, axis=0)}


def images(layout: frozenset[int]) -> set[frozenset[int]]:
    """The rotations and mirror images of a layout."""
    walls = np.zeros((7, 7), bool)
    walls.flat[list(layout)] = True
    found = [np.rot90(image, turns) for image in (walls, np.fliplr(walls)) for turns in range(4)]
    return {frozenset(np.flatnonzero(image).tolist()) for image in found}


def test_training_and_test_layouts_are_disjoint_and_cover_everything(drawn, initial_states):
    training, test = layouts_of(initial_states), layouts_of(drawn.start)
    inner = np.flatnonzero(~border_cells(7)).tolist()
    every = {frozenset(pair) for pair in itertools.combinations(inner, 2)}
    assert len(every) == ALL_LAYOUTS
    assert training | test == every - corner_cuts()
    assert not training & test
    assert (len(training), len(test)) == (160, 136)
    for layout in training | test:
        assert images(layout) <= (training if layout in training else test)


@pytest.mark.parametrize("size", [6, 7, 8, 10, 13])
def test_both_splits_have_layouts_on_boards_of_other_sizes(size):
    inner = np.flatnonzero(~border_cells(size))
    generator = np.random.default_rng(0)
    for num_inner_walls in {1, 2, len(inner) // 6}:
        draws = [generator.choice(inner, num_inner_walls, replace=False) for _ in range(100)]
        draws = inner[:, None] if num_inner_walls == 1 else draws
        layouts = [border_cells(size) | np.isin(np.arange(size**2), walls) for walls in draws]
        share = np.mean([is_test_layout(walls) for walls in layouts])
        assert 0.1 < share < 0.9
    compiled = jax.jit(jax.vmap(is_test_layout))(jnp.asarray(np.stack(layouts)))
    assert compiled.tolist() == [bool(is_test_layout(walls)) for walls in layouts]


def test_initial_states_have_no_box_in_a_corner_and_one_that_can_be_pushed(initial_states):
    in_corner = {8, 12, 36, 40}
    for state in initial_states[:300]:
        assert ENV.invalid_reason(state) is None and (state == 1).sum() == 24 + 2
        for box in np.flatnonzero(state == 2):
            assert not ((state[[box - 7, box + 7]] == 1).any() and (state[[box - 1, box + 1]] == 1).any())
            assert box not in in_corner
        queue = [tuple(state.tolist())]
        found = set(queue)
        pushable = False
        while queue and not pushable:  # walk until a push is possible
            node = queue.pop()
            for after in (move(node, 7, *way) for way in WAYS):
                if after is not None and after not in found:
                    found.add(after)
                    queue.append(after)
                    pushable |= [token == 2 for token in after] != [token == 2 for token in node]
        assert pushable


def test_drawn_problems_are_solvable_and_not_trivial(drawn):
    assert (drawn.goal.mask == (drawn.goal.tokens == 2)).all() and (drawn.goal.mask.sum(axis=1) == 2).all()
    assert not (drawn.goal.mask & np.isin(drawn.start, (1, 2))).any()  # targets under no wall and no box
    assert all(ENV.invalid_reason(state) is None for state in drawn.start)
    lengths = ENV.optimal_lengths(jax.tree.map(lambda leaf: leaf[:300], drawn))
    assert lengths.min() >= MIN_PUSHES
    assert np.mean((lengths >= 8) & (lengths <= 40)) > 0.9
    assert 11 < lengths.mean() < 16
    assert len(np.unique(np.concatenate([drawn.start, drawn.goal.tokens], axis=1), axis=0)) > 1_190


def test_other_sizes_have_levels_too():
    env = Sokoban(size=6, num_boxes=1, num_inner_walls=1)
    drawn = jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(0), 16))
    assert drawn.start.shape == (16, 36) and env.optimal_lengths(drawn).min() >= MIN_PUSHES


# --- Solver.


@pytest.mark.parametrize(
    ("start", "goal", "length"),
    [
        (board("@$...", ".....", "...$.", ".....", "....."), goal_at(10, 25), 1),
        (board("@$...", ".....", "...$.", ".....", "....."), goal_at(9, 25), 0),
        (board("$@...", ".....", "...$.", ".....", "....."), goal_at(8, 25), 0),
        (board("$@...", ".....", "...$.", ".....", "....."), goal_at(9, 25), -1),  # nothing leaves a corner
        (board("$@...", ".....", "...$.", ".....", "....."), goal_at(26), 4),  # the box in the corner is not needed
        (board(".$...", "@....", "...$.", ".....", "....."), goal_at(16, 25), -1),  # nothing leaves the border
        (board(".$...", "@....", "...$.", ".....", "....."), goal_at(8, 25), 4),  # around, then a push to the left
        (board("$$...", "##...", "..@..", ".....", "....."), goal_at(9, 10), -1),
    ],
)
def test_hand_checked_lengths(start, goal, length):
    assert ENV.optimal_lengths(problems([start], [goal])).tolist() == [length]


def test_lengths_agree_with_search_backwards_over_whole_levels(drawn):
    generator = np.random.default_rng(0)
    levels = [(drawn.start[i], set(np.flatnonzero(drawn.goal.mask[i]).tolist())) for i in range(2)]
    levels.append((board("@.$..", ".#...", ".#.$.", ".##..", "....."), {8, 26}))
    levels.append((levels[2][0], {26}))  # one box is free to stay anywhere
    for start, targets in levels:
        oracle = lengths_of_all_states(start, targets)
        states = [list(oracle)[i] for i in generator.choice(len(oracle), 200, replace=False)]
        expected = [oracle[state] for state in states]
        assert ENV.optimal_lengths(problems(states, [goal_at(*targets)] * 200)).tolist() == expected
        assert expected.count(-1) > 20 and max(expected) > 15  # dead ends and long ways alike
    assert len(lengths_of_all_states(drawn.start[0], {8})) == 5_313  # 23 cells: 253 pairs of boxes, 21 players


def test_the_solver_gives_up_above_its_budget(drawn):
    start, targets = drawn.start[0], drawn.goal.mask[0]
    length = shortest_solution_length(start, targets, size=7)
    assert length > 4
    assert shortest_solution_length(start, targets, size=7, max_nodes=5_313) == length
    assert shortest_solution_length(start, targets, size=7, max_nodes=10) == -1


def test_optimal_lengths_are_minus_one_where_start_or_goal_is_not_of_this_domain():
    start = board("@$...", ".....", "...$.", "..#..", ".....")
    without_player = np.where(start == 3, 0, start)
    goals = [goal_at(10, 25), goal_at(10, 31), goal_at(0)]  # the last two are walls
    assert ENV.optimal_lengths(problems([without_player, start, start], goals)).tolist() == [-1, -1, -1]
    full = Problem(start=start[None], goal=Goal(tokens=start[None], mask=np.ones((1, 49), bool)))
    assert ENV.optimal_lengths(full).tolist() == [-1]


def test_verify_accepts_a_solution_and_no_other_plan():
    start = board(".....", ".$...", ".@.$.", ".....", ".....")
    problem = jax.tree.map(lambda leaf: leaf[0], problems([start], [goal_at(9, 26)]))
    up, down, left, right = range(4)
    plans = [
        [up, down, right, right, -1],  # pushes one up, comes back, pushes the other to the right
        [right, right, left, left, up],  # the other way around
        [up, down, right, -1, -1],  # one push too few
        [up, up, down, right, right],  # the second move is illegal: the box is at the border
        [right, right, right, up, -1],  # too far
    ]
    solved, lengths = jax.vmap(ENV.verify, in_axes=(None, 0))(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [True, True, False, False, False]
    assert lengths.tolist() == [4, 5, 3, 5, 4]
    assert ENV.optimal_lengths(problems([start], [goal_at(9, 26)])).tolist() == [4]


# --- Goals.


def test_a_goal_in_hindsight_asks_for_the_boxes_and_for_nothing_else():
    reached = jnp.asarray(board("@$...", ".....", "...$.", ".....", "....."), jnp.int32)
    goal = Goal(tokens=reached, mask=ENV.hindsight_mask(reached, jax.random.key(0)))
    assert np.flatnonzero(goal.mask).tolist() == [9, 25]
    elsewhere = board(".$...", ".....", "...$.", ".....", "....@")
    pushed = board(".@$..", ".....", "...$.", ".....", ".....")
    solved = [bool(ENV.is_solved(jnp.asarray(state, jnp.int32), goal)) for state in (reached, elsewhere, pushed)]
    assert solved == [True, True, False]
    assert ENV.goal_kind is GoalKind.STATE_SET and not ENV.is_reversible
    assert ENV.goal_alternatives(goal).tokens.shape == (1, 49)


# --- From outside.

START = board("@$...", ".....", "...$.", "..#..", ".....")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (START, None),
        (board("@$#..", "#####", "...$.", "..#..", "....."), None),  # any walls inside will do
        (START[:48], "expected 49 cells, came shape [48]"),
        (START + 1, "cells must lie in 0..3, came 1..4"),
        (np.where(np.arange(49) == 13, 0, START), "the border must be wall, came 0 in cell 13"),
        (board("@$@..", ".....", "...$.", "..#..", "....."), "the player (3) must occur 1 times, came 2 times"),
        (board(".$...", ".....", "...$.", "..#..", "....."), "the player (3) must occur 1 times, came 0 times"),
        (board("@$$..", ".....", "...$.", "..#..", "....."), "the box (2) must occur 2 times, came 3 times"),
        (board("@....", ".....", "...$.", "..#..", "....."), "the box (2) must occur 2 times, came 1 times"),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_problems_from_arrays(drawn):
    arrays = {"start": drawn.start.astype(np.uint8), "goal": drawn.goal.tokens.astype(np.int8)}
    rebuilt = ENV.problems_from_arrays(arrays)
    assert rebuilt.start.dtype == rebuilt.goal.tokens.dtype == jnp.int32
    assert jax.tree.all(jax.tree.map(lambda one, other: (one == other).all(), rebuilt, drawn))
    fewer = ENV.problems_from_arrays({"start": START[None], "goal": goal_at(10)[None]})
    assert np.flatnonzero(fewer.goal.mask[0]).tolist() == [10] and ENV.optimal_lengths(fewer).tolist() == [1]


@pytest.mark.parametrize(
    ("start", "goal", "message"),
    [
        (START[None], None, r"expected an array `goal`, came the arrays \['start'\]"),
        (START[None], goal_at(9, 10), r"of the shape \[1, 49\] of `start`, came int64 of shape \[49\]"),
        (START[None], goal_at(9, 10)[None] * 1.0, r"`goal` must be integers .* came float64 of shape \[1, 49\]"),
        (START[None], np.tile(goal_at(9, 10), (2, 1)), r"came int64 of shape \[2, 49\]"),
        (np.stack([START, START * 0 + 1]), np.tile(goal_at(9), (2, 1)), "`start` of problem 1 .* the player"),
        (START[None], START[None], r"`goal` of problem 0 .* 2 for a target and 0 for all else, came \[1, 3\] too"),
        (np.stack([START] * 2), np.stack([goal_at(9), goal_at(9, 10, 11)]), "problem 1 .* 1 to 2 targets, .* came 3"),
        (START[None], goal_at()[None], "problem 0 .* expected 1 to 2 targets, .* came 0"),
        (START[None], goal_at(9, 31)[None], "problem 0 .* came a target in cell 31, which is a wall"),
    ],
)
def test_problems_from_bad_arrays(start, goal, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays({"start": start} if goal is None else {"start": start, "goal": goal})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"size": 5}, "expected a board of at least 6x6 cells with its border, came size 5"),
        ({"num_boxes": 0}, "expected 1 to 3 boxes for size 7, came 0"),
        ({"num_boxes": 4}, "expected 1 to 3 boxes for size 7, came 4"),
        ({"num_inner_walls": 0}, "expected 1 to 4 inner walls for size 7, came 0"),
        ({"num_inner_walls": 5}, "expected 1 to 4 inner walls for size 7, came 5"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Sokoban(**sizes)


def test_name_and_render():
    assert ENV.name == "sokoban_7x7_2"
    assert Sokoban(size=10, num_boxes=3).name == "sokoban_10x10_3"
    picture = ["#######", "#@$   #", "#     #", "#   $ #", "#  #  #", "#     #", "#######"]
    assert ENV.render(START) == "\n".join(picture)
