import collections
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs import tile_patterns, tile_search
from jepa.envs.base import full_goal
from jepa.envs.distance_table import unrank_permutations
from jepa.envs.sliding_tiles import SlidingTiles, build_distances
from jepa.envs.tile_patterns import build_pattern_distances, partition, pattern_heuristics
from jepa.envs.tile_search import search_lengths
from jepa.types import Goal, Problem

BENCHMARK = pathlib.Path(__file__).parents[3] / "shared" / "benchmarks" / "puzzle15.npz"
published = pytest.mark.skipif(not BENCHMARK.exists(), reason="the published problems are not part of the project")


@pytest.fixture
def small_tables(monkeypatch):
    """Patterns of few tiles are made quickly, and are so far from exact that the search has work to do."""

    def forget():
        pattern_heuristics.cache_clear()
        tile_patterns._upright.cache_clear()

    forget()
    monkeypatch.setattr(tile_patterns, "MAX_ENTRIES", 16**4)
    yield
    forget()


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts, jnp.int32), goal=full_goal(jnp.asarray(goals, jnp.int32)))


def ordered(num_cells: int, blank: int) -> np.ndarray:
    return np.insert(np.arange(1, num_cells), blank, 0)


def neighbours(board: tuple[int, ...], rows: int, columns: int, blank: int):
    """Yields the boards after one move, sharing nothing with the shipped code."""
    at = board.index(blank)
    for cell in range(rows * columns):
        if abs(cell // columns - at // columns) + abs(cell % columns - at % columns) == 1:
            moved = list(board)
            moved[at], moved[cell] = board[cell], blank
            yield tuple(moved), board[cell]


def within(goal: tuple[int, ...], rows: int, columns: int, depth: int) -> dict[tuple[int, ...], int]:
    """Breadth-first search up to a depth."""
    distances, frontier = {goal: 0}, [goal]
    for distance in range(1, depth + 1):
        adjacent = {moved for board in frontier for moved, _ in neighbours(board, rows, columns, 0)}
        frontier = [board for board in adjacent if board not in distances]
        distances |= dict.fromkeys(frontier, distance)
    return distances


def published_problems(count: int, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first of the published 15-puzzles of at most some length: starts, goals, lengths."""
    with np.load(BENCHMARK, allow_pickle=False) as arrays:
        chosen = np.flatnonzero(arrays["optimal_length"] <= longest)[:count]
        return tuple(arrays[name][chosen].astype(int) for name in ("start", "goal", "optimal_length"))


# --- Pattern databases.


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (2, 6), (6, 2), (3, 4), (3, 5), (5, 5), (2, 2), (8, 8)])
def test_a_partition_holds_every_cell_but_the_blank_once(rows, columns):
    for blank in range(rows * columns):
        patterns = partition(rows, columns, blank)
        cells = sorted(itertools.chain(*patterns))
        assert cells == [cell for cell in range(rows * columns) if cell != blank]
        assert len({len(pattern) for pattern in patterns[:-1]}) <= 1
        assert 1 <= len(patterns[-1]) <= len(patterns[0])
        assert (rows * columns) ** len(patterns[0]) <= 16**6


def test_the_patterns_of_the_15_puzzle():
    assert [len(pattern) for pattern in partition(4, 4, 15)] == [6, 6, 3]
    assert sorted(partition(4, 4, 15)[0]) == [4, 5, 8, 9, 12, 13]  # three rows of two columns


@pytest.mark.parametrize(
    ("rows", "columns", "blank", "pattern"),
    [(2, 3, 5, (0, 1)), (3, 2, 0, (5, 1, 3)), (2, 4, 6, (0, 4, 7)), (3, 3, 4, (0, 8)), (3, 3, 8, (5, 7, 6))],
)
def test_pattern_distances_agree_with_search(rows, columns, blank, pattern):
    # The goal with the pattern's tiles 1, 2, ..., other tiles 9, the blank 0; moves of a 9 cost nothing.
    num_cells = rows * columns
    goal = [9] * num_cells
    goal[blank] = 0
    for tile, cell in enumerate(pattern, start=1):
        goal[cell] = tile
    distances, queue = {}, collections.deque([(tuple(goal), 0)])
    while queue:
        board, distance = queue.popleft()
        if board in distances:
            continue
        distances[board] = distance
        for moved, tile in neighbours(board, rows, columns, 0):
            if tile == 9:
                queue.appendleft((moved, distance))
            else:
                queue.append((moved, distance + 1))
    expected = np.full(num_cells ** len(pattern), 10_000)
    for board, distance in distances.items():
        index = sum(board.index(i + 1) * num_cells**i for i in range(len(pattern)))
        expected[index] = min(expected[index], distance)
    table = build_pattern_distances(rows, columns, blank, pattern)
    assert table.tolist() == np.where(expected == 10_000, -1, expected).tolist()


def test_a_pattern_of_all_tiles_is_exact():
    table = build_pattern_distances(2, 3, 5, (0, 1, 2, 3, 4))
    exact = build_distances(2, 3, 5)
    for rank in np.flatnonzero(exact >= 0).tolist():
        cells = np.argsort(unrank_permutations(np.array([rank]), 6)[0])  # of the blank, tile 1, ...
        assert table[cells[1:] @ 6 ** np.arange(5)] == exact[rank]


@pytest.mark.parametrize(("rows", "columns", "blank"), [(3, 3, 8), (3, 3, 7), (2, 4, 7), (4, 2, 4)])
def test_heuristics_never_exceed_the_distance_and_share_its_parity(rows, columns, blank, monkeypatch, small_tables):
    monkeypatch.setattr(tile_patterns, "MAX_ENTRIES", 1_000)
    exact = build_distances(rows, columns, blank)
    ranks = np.flatnonzero(exact >= 0)[::29]
    homes = np.insert(np.delete(np.arange(rows * columns), blank), 0, blank)  # of the blank, tile 1, ...
    upright, sideways = (
        np.array([heuristic.entries[heuristic.places(homes[board])].sum(dtype=int) for board in boards])
        for boards in [unrank_permutations(ranks, rows * columns)]
        for heuristic in pattern_heuristics(rows, columns, blank)
    )
    for bound in (upright, sideways):
        assert (bound <= exact[ranks]).all() and ((bound - exact[ranks]) % 2 == 0).all()
        assert bound.mean() > 0.6 * exact[ranks].mean()
    assert (upright < sideways).any() and (upright > sideways).any()


# --- Search.


@pytest.mark.parametrize(("rows", "columns", "blank"), [(3, 3, 8), (3, 3, 4), (3, 3, 1), (2, 5, 9), (5, 2, 4)])
def test_lengths_agree_with_tables(rows, columns, blank, monkeypatch, small_tables):
    monkeypatch.setattr(tile_patterns, "MAX_ENTRIES", 10**4)
    # Blocks this small are split all the time; in large ones a short solution is found first whatever the bound.
    monkeypatch.setattr(tile_search, "_BLOCK_SIZE", 40)
    exact = build_distances(rows, columns, blank)
    reachable = np.flatnonzero(exact >= 0)
    farthest = np.argsort(exact[reachable])[-5:]
    drawn = np.random.default_rng(0).choice(len(reachable), 40, replace=False)
    ranks = reachable[np.concatenate([drawn, farthest])]
    starts = unrank_permutations(ranks, rows * columns).astype(int)
    goals = np.tile(ordered(rows * columns, blank), (len(starts), 1))
    assert search_lengths(rows, columns, starts, goals).tolist() == exact[ranks].tolist()
    assert exact[ranks].max() == exact.max()


def test_lengths_for_mixed_goals_agree_with_tables(small_tables):
    starts, goals = np.random.default_rng(0).permuted(np.tile(np.arange(9), (2, 80, 1)), axis=2)
    exact = SlidingTiles().optimal_lengths(problems(starts, goals))
    starts, goals, exact = starts[exact >= 0], goals[exact >= 0], exact[exact >= 0]
    assert len(np.unique(np.argmin(goals, axis=1))) == 9
    assert search_lengths(3, 3, starts, goals).tolist() == exact.tolist()


@pytest.mark.parametrize(
    ("rows", "columns", "blank", "depth"), [(4, 4, 15, 12), (4, 4, 1, 11), (3, 4, 6, 11), (6, 2, 3, 13), (5, 5, 24, 9)]
)
def test_lengths_agree_with_search_near_the_goal(rows, columns, blank, depth, small_tables):
    goal = tuple(np.random.default_rng(1).permutation(np.arange(1, rows * columns)).tolist())
    goal = (*goal[:blank], 0, *goal[blank:])
    distances = list(within(goal, rows, columns, depth).items())
    chosen = [*distances[:10], *distances[:: len(distances) // 40], *distances[-20:]]
    boards = np.array([board for board, _ in chosen])
    env = SlidingTiles(rows=rows, columns=columns)
    expected = [distance for _, distance in chosen]
    assert max(expected) == depth
    assert env.optimal_lengths(problems(boards, np.tile(goal, (len(boards), 1)))).tolist() == expected
    # Every move can be undone.
    assert env.optimal_lengths(problems(np.tile(goal, (len(boards), 1)), boards)).tolist() == expected


def test_goals_that_mirror_each_other_share_tables(monkeypatch, small_tables):
    asked = set()

    def spy(rows, columns, blank):
        asked.add(blank)
        return pattern_heuristics(rows, columns, blank)

    monkeypatch.setattr(tile_search, "pattern_heuristics", spy)
    env = SlidingTiles(rows=4, columns=4)
    goals = np.stack([ordered(16, blank) for blank in range(16)])
    starts = jax.vmap(env.step)(jnp.asarray(goals, jnp.int32), jnp.asarray([1] * 12 + [0] * 4))
    assert env.optimal_lengths(problems(starts, goals)).tolist() == [1] * 16
    assert asked == {10, 11, 14, 15}


@published
def test_lengths_of_easy_published_problems(small_tables):
    starts, goals, lengths = published_problems(6, longest=43)
    assert search_lengths(4, 4, starts, goals).tolist() == lengths.tolist()


@published
@pytest.mark.slow
def test_lengths_of_published_problems():
    starts, goals, lengths = published_problems(20, longest=80)
    assert SlidingTiles(rows=4, columns=4).optimal_lengths(problems(starts, goals)).tolist() == lengths.tolist()


# --- What is not known.


def test_what_a_small_budget_answers_is_exact(small_tables):
    env = SlidingTiles()
    drawn = jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(0), 60))
    starts, goals, exact = np.asarray(drawn.start), np.asarray(drawn.goal.tokens), env.optimal_lengths(drawn)
    num_known = []
    for budget in (1, 100, 300, 1_000, 100_000):
        lengths = search_lengths(3, 3, starts, goals, node_budget=budget)
        known = lengths >= 0
        assert (lengths[known] == exact[known]).all() and (lengths[~known] == -1).all()
        num_known.append(int(known.sum()))
    assert num_known == sorted(num_known) and num_known[0] == 0 and 0 < num_known[2] < 60 and num_known[-1] == 60


@pytest.mark.parametrize(
    ("rows", "columns", "budget"),
    [(4, 4, tile_search.NODE_BUDGET), (4, 5, tile_search.LARGE_BOARD_NODE_BUDGET)],
)
def test_the_budget_is_spent_on_each_problem(rows, columns, budget, monkeypatch, small_tables):
    spent = []

    def expand(*arguments):
        children, _ = tile_search_expand(*arguments)
        spent.append(1_000_000)
        return children, spent[-1]

    tile_search_expand = tile_search._expand
    monkeypatch.setattr(tile_search, "_expand", expand)
    goal = ordered(rows * columns, rows * columns - 1)
    starts = np.stack([np.append(goal[:-1][::-1], 0)] * 2)
    assert search_lengths(rows, columns, starts, np.stack([goal] * 2)).tolist() == [-1, -1]
    assert sum(spent) == 2 * budget


def test_problems_without_a_way_are_not_searched(monkeypatch):
    def refuse(*arguments):
        raise AssertionError

    monkeypatch.setattr(tile_search, "pattern_heuristics", refuse)
    env, goal = SlidingTiles(rows=4, columns=4), ordered(16, 15)
    swapped, invalid = goal[[1, 0, *range(2, 16)]], np.zeros(16, int)
    mixed = problems([goal, swapped, invalid, goal, goal + 1], [goal, goal, goal, invalid, goal])
    assert env.optimal_lengths(mixed).tolist() == [0, -1, -1, -1, -1]
    tokens = jnp.asarray(goal[None], jnp.int32)
    opened = Goal(tokens=tokens, mask=jnp.ones((1, 16), bool).at[0, 3].set(False))
    assert env.optimal_lengths(Problem(start=tokens, goal=opened)).tolist() == [-1]
    goal = ordered(66, 65)  # more cells than a table can have
    moved = goal[[*range(64), 65, 64]]
    large = SlidingTiles(rows=3, columns=22)
    assert large.optimal_lengths(problems([goal, moved], [goal, goal])).tolist() == [0, -1]
