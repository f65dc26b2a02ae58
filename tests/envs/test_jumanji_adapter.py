"""Domains of Jumanji against Jumanji's own episodes, and their exact lengths against searches by its steps."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.base import full_goal
from jepa.envs.jumanji_maze import AGENT, FLOOR, WALL, JumanjiMaze
from jepa.envs.jumanji_rubiks_cube import MAX_KNOWN_LENGTH, JumanjiRubiksCube, _sequences, _turns
from jepa.envs.jumanji_sliding_tiles import JumanjiSlidingTiles
from jepa.envs.near_states import state_keys
from jepa.types import Goal, Problem

pytest.importorskip("jumanji")

CUBE = JumanjiRubiksCube()
MAZE = JumanjiMaze(rows=7, columns=6)
TILES = JumanjiSlidingTiles(size=3)
SOLVED_CUBE = np.repeat(np.arange(6), 9)
EACH = pytest.mark.parametrize("env", [CUBE, MAZE, TILES], ids=lambda env: env.name)


def sample(env, count: int, seed: int = 0) -> Problem:
    return jax.jit(jax.vmap(env.sample_problem))(jax.random.split(jax.random.key(seed), count))


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts, jnp.int32), goal=full_goal(jnp.asarray(goals, jnp.int32)))


def turn(state: np.ndarray, *names: str) -> np.ndarray:
    """Turns a cube by the names of the turns."""
    for name in names:
        state = state[_turns(CUBE)[CUBE.action_names.index(name)]]
    return state


def search(env, goal: np.ndarray, max_depth: int) -> dict[tuple[int, ...], int]:
    """Distances of all states up to a depth, by the domain's steps and nothing else of it; moves have a way back."""
    step = jax.jit(jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None)))
    distances, frontier = {tuple(goal.tolist()): 0}, goal[None]
    for depth in range(1, max_depth + 1):
        found = np.asarray(step(jnp.asarray(frontier, jnp.int32), jnp.arange(env.num_actions)))
        new = {tuple(state) for state in found.reshape(-1, env.num_tokens).tolist()} - distances.keys()
        distances |= dict.fromkeys(new, depth)
        frontier = np.array(sorted(new))
        if not new:
            break
    return distances


# ---- the same moves as Jumanji


@EACH
def test_random_walks_agree_with_jumanji(env):
    """Jumanji keeps its own state, which never passes through tokens."""
    reset, their_step, random = jax.jit(env.jumanji.reset), jax.jit(env.jumanji.step), np.random.default_rng(0)
    step, legal_actions = jax.jit(env.step), jax.jit(env.legal_actions)
    for seed in range(5):
        theirs, seen = reset(jax.random.key(seed))
        state = env.from_jumanji(theirs)
        for action in random.integers(env.num_actions, size=40).tolist():
            assert env.invalid_reason(np.asarray(state)) is None
            if env is not CUBE:
                assert legal_actions(state).tolist() == seen.observation.action_mask.tolist()
            theirs, seen = their_step(theirs, env.action_to_jumanji(jnp.int32(action)))
            state = step(state, jnp.int32(action))
            assert (state == env.from_jumanji(theirs)).all()


@EACH
def test_bridge_leads_back(env):
    for state in sample(env, 20).start:
        assert (env.from_jumanji(env.to_jumanji(state)) == state).all()


@EACH
def test_jumanji_ends_its_episode_at_the_goal(env):
    """An optimal plan, step by step in Jumanji: it says that the episode ends with the last action, and not before."""
    draw = jax.jit(env.jumanji.reset)
    theirs, _ = draw(jax.random.key(3))
    start = env.from_jumanji(theirs)
    if env is MAZE:
        cell = jnp.ravel_multi_index(tuple(theirs.target_position), MAZE.grid_shape, mode="clip")
        goal = jnp.where(start == AGENT, FLOOR, start).at[cell].set(AGENT)
    else:
        goal = env.initial_state(jax.random.key(0))
    over_actions = jax.jit(jax.vmap(env.step, in_axes=(None, 0)))
    their_step = jax.jit(env.jumanji.step)
    (remaining,) = env.optimal_lengths(problems([start], [goal])).tolist()
    assert remaining > 1
    while remaining:
        successors = over_actions(env.from_jumanji(theirs), jnp.arange(env.num_actions))
        lengths = env.optimal_lengths(problems(successors, [goal] * env.num_actions))
        action, remaining = int(np.argmax(lengths == remaining - 1)), remaining - 1
        theirs, seen = their_step(theirs, env.action_to_jumanji(jnp.int32(action)))
        assert bool(seen.last()) == (remaining == 0)
    assert (env.from_jumanji(theirs) == goal).all()


# ---- sliding tiles


def test_all_distances_of_the_smallest_board_are_those_of_a_search():
    env = JumanjiSlidingTiles(size=2)
    distances = search(env, np.array([1, 2, 3, 0]), 10)
    assert len(distances) == 12 and max(distances.values()) == 6
    lengths = env.optimal_lengths(problems(list(distances), [[1, 2, 3, 0]] * 12))
    assert lengths.tolist() == list(distances.values())


def test_tiles_are_shuffled_by_jumanji():
    drawn = sample(JumanjiSlidingTiles(size=3, num_random_moves=2), 100)
    lengths = TILES.optimal_lengths(drawn)
    assert set(lengths.tolist()) == {0, 2}
    assert (np.asarray(drawn.goal.tokens) == [1, 2, 3, 4, 5, 6, 7, 8, 0]).all()


# ---- the maze


def search_maze(start: np.ndarray) -> dict[int, int]:
    """Distances from the agent to all cells, by the rule as it is told."""
    cells = start.reshape(MAZE.grid_shape)
    first = tuple(np.argwhere(cells == AGENT)[0].tolist())
    distances, queue = {first: 0}, collections.deque([first])
    while queue:
        row, column = queue.popleft()
        for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= cell[0] < MAZE.rows and 0 <= cell[1] < MAZE.columns
            if inside and cells[cell] != WALL and cell not in distances:
                distances[cell] = distances[row, column] + 1
                queue.append(cell)
    return {row * MAZE.columns + column: length for (row, column), length in distances.items()}


def test_lengths_in_mazes_are_those_of_a_search():
    drawn = sample(MAZE, 100)
    targets = np.argmax(np.asarray(drawn.goal.tokens) == AGENT, axis=1)
    expected = [search_maze(np.asarray(start))[target] for start, target in zip(drawn.start, targets, strict=True)]
    assert MAZE.optimal_lengths(drawn).tolist() == expected and min(expected) > 0


def test_mazes_of_training_and_of_testing_differ():
    keys = jax.random.split(jax.random.key(0), 300)
    training = np.asarray(jax.jit(jax.vmap(MAZE.initial_state))(keys)) == WALL
    drawn = sample(MAZE, 300)
    testing = np.asarray(drawn.start) == WALL
    assert ((np.asarray(drawn.goal.tokens) == WALL) == testing).all()
    assert not {tuple(walls) for walls in training.tolist()} & {tuple(walls) for walls in testing.tolist()}
    assert min(len(np.unique(walls, axis=0)) for walls in (training, testing)) > 200


def test_split_of_mazes_follows_its_hash():
    """The hash in whole numbers of Python: it must never change, as walks are kept on disk."""
    states = np.random.default_rng(0).integers(0, 2, (50, 42))
    for state in states:
        digest = 0x85EBCA6B
        for bit in state.tolist():
            digest = (digest ^ bit) * 0x9E3779B1 % 2**32
            digest ^= digest >> 15
        assert bool(MAZE.is_test_maze(jnp.asarray(state))) == (digest * 0x85EBCA6B % 2**32 >= 2**31)


def test_lengths_of_what_is_no_maze():
    empty = np.full(42, FLOOR)
    here, there, walled = empty.copy(), empty.copy(), empty.copy()
    here[0], there[41], walled[0] = AGENT, AGENT, AGENT
    walled[6:12] = WALL
    behind = np.where(walled == AGENT, FLOOR, walled)
    behind[41] = AGENT
    starts, goals = [here, here, empty, here, walled], [there, walled, there, empty, behind]
    assert MAZE.optimal_lengths(problems(starts, goals)).tolist() == [11, -1, -1, -1, -1]
    open_goal = Goal(tokens=jnp.asarray(there)[None], mask=jnp.asarray(there == AGENT)[None])
    assert MAZE.optimal_lengths(Problem(start=jnp.asarray(here)[None], goal=open_goal)).tolist() == [-1]
    with pytest.raises(ValueError, match="problem 1 has no solution: the walls of start and goal differ, or stand"):
        MAZE.problems_from_arrays({"start": np.stack([here, walled]), "goal": np.stack([there, behind])})
    with pytest.raises(ValueError, match="expected an array `goal`"):
        MAZE.problems_from_arrays({"start": here[None]})
    assert "must occur once, came 0 times" in MAZE.invalid_reason(empty)


def test_maze_is_drawn_in_a_frame():
    state = np.array([AGENT, WALL, *[FLOOR] * 23])
    picture = "+-----+\n|@#   |\n|     |\n|     |\n|     |\n|     |\n+-----+"
    assert JumanjiMaze(rows=5, columns=5).render(state) == picture


# ---- the cube


def test_numbers_of_positions_of_the_cube():
    # OEIS A080601: positions of the cube at 0, 1, ... turns from the solved one, half turns counted as one.
    levels = _sequences(CUBE)
    assert [len(level) for level in levels] == [1, 18, 243, 3240, 43239]
    assert len(np.unique(state_keys(np.concatenate(levels)))) == 46741


def test_near_cubes_have_the_lengths_of_a_search():
    distances = search(CUBE, SOLVED_CUBE, 3)
    chosen = list(distances.items())[:: len(distances) // 200]
    lengths = CUBE.optimal_lengths(problems([state for state, _ in chosen], [SOLVED_CUBE] * len(chosen)))
    assert lengths.tolist() == [length for _, length in chosen] and len(distances) == 3502


def test_far_cubes():
    """A known length beyond the search's reach is not claimed; one within agrees from any goal, and backwards."""
    superflip = turn(SOLVED_CUBE, *"U R2 F B R B2 R U2 L B2 R U' D' R2 F R' L B2 U2 F2".split())
    # 20 turns from solved: the edges' stickers, and no others, have all changed.
    assert (np.flatnonzero(superflip != SOLVED_CUBE) % 9 % 2 == 1).all() and (superflip != SOLVED_CUBE).sum() == 24
    assert CUBE.invalid_reason(superflip) is None
    drawn = sample(CUBE, 5)
    starts = np.asarray(drawn.start)
    forth = CUBE.optimal_lengths(drawn)
    assert CUBE.optimal_lengths(problems([SOLVED_CUBE] * 5, starts)).tolist() == forth.tolist()
    assert 0 < forth.max() <= CUBE.num_scrambles < MAX_KNOWN_LENGTH
    assert CUBE.optimal_lengths(problems([superflip], [SOLVED_CUBE])).tolist() == [-1]
    moved = turn(superflip, "R", "U2", "F'")
    assert CUBE.optimal_lengths(problems([moved], [superflip])).tolist() == [3]


def test_impossible_cubes_are_refused():
    def swapped(*pairs: tuple[int, int]) -> np.ndarray:
        state = SOLVED_CUBE.copy()
        for one, other in pairs:
            state[[one, other]] = state[[other, one]]
        return state

    assert "an edge is flipped" in CUBE.invalid_reason(swapped((7, 10)))  # the two stickers of the edge UF
    corner = SOLVED_CUBE.copy()
    corner[[8, 18, 11]] = corner[[18, 11, 8]]  # the three stickers of the corner URF
    assert "corners are twisted" in CUBE.invalid_reason(corner)
    assert "two cubies are swapped" in CUBE.invalid_reason(swapped((10, 19)))  # UF and UR, whose first stickers are up
    assert "the centres must be 0..5" in CUBE.invalid_reason(swapped((4, 13)))
    assert "no cubie has the colours" in CUBE.invalid_reason(swapped((8, 53)))
    assert "no cubie has the colours" in CUBE.invalid_reason(swapped((8, 18)))  # URF seen in a mirror


def test_scrambles_are_turns_in_their_order():
    scramble = np.array([[CUBE.action_names.index("R"), CUBE.action_names.index("U2"), -1]])
    posed = CUBE.problems_from_arrays({"scramble": scramble})
    assert (posed.start[0] == turn(SOLVED_CUBE, "R", "U2")).all() and (posed.goal.tokens[0] == SOLVED_CUBE).all()
    assert CUBE.optimal_lengths(posed).tolist() == [2]


def test_cube_is_drawn_as_a_net():
    lines = CUBE.render(turn(SOLVED_CUBE, "R")).splitlines()
    # Turning the right face clockwise brings the front's column up, and the lower one to the front.
    assert lines[0] == "      U U F" and lines[3] == "L L L F F D R R R U B B" and lines[8] == "      D D B"


# ---- refusals


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: JumanjiSlidingTiles(size=1), "expected a size of at least 2 .* came 1 and 200"),
        (lambda: JumanjiSlidingTiles(num_random_moves=0), "at least 1 random move"),
        (lambda: JumanjiMaze(rows=4), "expected at least 5 rows and 5 columns, came 4x10"),
        (lambda: JumanjiRubiksCube(num_scrambles=0), "expected at least 1 scramble, came 0"),
    ],
)
def test_wrong_sizes_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
