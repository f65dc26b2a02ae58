import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.base import full_goal
from jepa.envs.pocket_cube import NUM_STATES, PocketCube, build_distances
from jepa.types import Problem

ENV = PocketCube()
SOLVED = np.asarray(ENV.initial_state(jax.random.key(0)))
STEP = jax.jit(ENV.step)
STEP_ALL = jax.jit(jax.vmap(jax.vmap(ENV.step, in_axes=(None, 0)), in_axes=(0, None)))


def turned(*names: str) -> np.ndarray:
    state = jnp.asarray(SOLVED)
    for name in names:
        state = STEP(state, jnp.int32(ENV.action_names.index(name)))
    return np.asarray(state)


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts), goal=full_goal(jnp.asarray(goals)))


def sampled(num_problems: int, seed: int) -> Problem:
    return jax.jit(jax.vmap(ENV.sample_problem))(jax.random.split(jax.random.key(seed), num_problems))


# --- Geometry, against cubies that are rotated one by one with coordinate maps written down by hand.

CLOCKWISE = {
    "U": (lambda x, y, z: (-z, y, x), lambda x, y, z: y == 1),  # front goes to the left
    "R": (lambda x, y, z: (x, z, -y), lambda x, y, z: x == 1),  # front goes up
    "F": (lambda x, y, z: (y, -x, z), lambda x, y, z: z == 1),  # up goes to the right
}
LAYOUT = {  # position of the cubie at (row, column) of a face, both -1 or 1; the outward normal
    "U": (lambda row, column: (column, 1, row), (0, 1, 0)),
    "R": (lambda row, column: (1, -row, -column), (1, 0, 0)),
    "F": (lambda row, column: (column, -row, 1), (0, 0, 1)),
    "D": (lambda row, column: (column, -1, -row), (0, -1, 0)),
    "L": (lambda row, column: (-1, -row, column), (-1, 0, 0)),
    "B": (lambda row, column: (-column, -row, -1), (0, 0, -1)),
}


def solved_cubies() -> dict:
    """Position of each cubie -> colour by outward normal."""
    colours = {normal: colour for colour, (_, normal) in enumerate(LAYOUT.values())}
    return {
        corner: {n: c for n, c in colours.items() if np.dot(n, corner) == 1}
        for corner in itertools.product((-1, 1), repeat=3)
    }


def rotate(cubies: dict, name: str) -> dict:
    rotation, on_face = CLOCKWISE[name[0]]
    for _ in range(3 if name.endswith("'") else 1):
        cubies = {
            (rotation(*corner) if on_face(*corner) else corner): (
                {rotation(*n): c for n, c in colours.items()} if on_face(*corner) else colours
            )
            for corner, colours in cubies.items()
        }
    return cubies


def stickers(cubies: dict) -> list[int]:
    cells = list(itertools.product((-1, 1), repeat=2))
    return [cubies[position(*cell)][normal] for position, normal in LAYOUT.values() for cell in cells]


def test_turns_agree_with_rotated_cubies():
    names = [ENV.action_names[a] for a in np.random.default_rng(0).integers(6, size=60)]
    cubies, state = solved_cubies(), jnp.asarray(SOLVED)
    assert stickers(cubies) == SOLVED.tolist()
    for name in [*ENV.action_names, *names]:
        cubies = rotate(cubies, name)
        state = STEP(state, jnp.int32(ENV.action_names.index(name)))
        assert np.asarray(state).tolist() == stickers(cubies), name


@pytest.mark.parametrize("face", ["U", "R", "F"])
def test_turns_have_order_four_and_inverses(face):
    assert (turned(face, f"{face}'") == SOLVED).all()
    assert (turned(f"{face}'", face) == SOLVED).all()
    orders = [n for n in range(1, 9) if (turned(*[face] * n) == SOLVED).all()]
    assert orders == [4, 8]


def test_known_identity():
    # (R U R' U')^6 is the identity on corners, no smaller power is.
    sexy = ["R", "U", "R'", "U'"]
    assert [n for n in range(1, 7) if (turned(*sexy * n) == SOLVED).all()] == [6]


# --- Distances.

QUARTER_TURN_COUNTS = [  # OEIS A079762
    1, 6, 27, 120, 534, 2256, 8969, 33058, 114149, 360508, 930588, 1350852, 782536, 90280, 276,
]  # fmt: skip


def test_distance_table_has_the_known_counts():
    table = build_distances()
    assert len(table) == NUM_STATES == 3_674_160
    assert np.bincount(table).tolist() == QUARTER_TURN_COUNTS
    assert table.mean() == pytest.approx(10.67, abs=0.005)


def within(state: np.ndarray, depth: int) -> dict[tuple, int]:
    """Breadth-first search on the dynamics themselves."""
    found, frontier = {tuple(state.tolist()): 0}, [state]
    for distance in range(1, depth + 1):
        padded = np.array(frontier)[np.arange(600) % len(frontier)]  # one compiled shape
        successors = np.asarray(STEP_ALL(jnp.asarray(padded), jnp.arange(6)))[: len(frontier)]
        frontier = []
        for successor in successors.reshape(-1, 24):
            if found.setdefault(tuple(successor.tolist()), distance) == distance:
                frontier.append(successor)
        frontier = list({tuple(s.tolist()): s for s in frontier}.values())
    return found


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_optimal_lengths_agree_with_search_on_the_dynamics(seed):
    centre = SOLVED if seed is None else np.asarray(sampled(1, seed).start[0])
    found = within(centre, 5)
    assert np.bincount(list(found.values())).tolist() == QUARTER_TURN_COUNTS[:6]
    others, lengths = np.array(list(found)), list(found.values())
    centres = np.tile(centre, (len(others), 1))
    assert ENV.optimal_lengths(problems(others, centres)).tolist() == lengths
    assert ENV.optimal_lengths(problems(centres, others)).tolist() == lengths


def test_optimal_lengths_are_minus_one_for_impossible_problems():
    twisted, unknown_colour = SOLVED.copy(), SOLVED.copy()
    twisted[CORNER_UFR] = twisted[np.roll(CORNER_UFR, 1)]
    unknown_colour[0] = 6
    starts = np.stack([twisted, unknown_colour, SOLVED, SOLVED])
    goals = np.stack([SOLVED, SOLVED, twisted, SOLVED])
    assert ENV.optimal_lengths(problems(starts, goals)).tolist() == [-1, -1, -1, 0]


def test_sampled_problems_are_uniform():
    sample = sampled(2_000, 3)
    lengths = ENV.optimal_lengths(sample)
    # The standard deviation of a length is 1.17, that of this mean 0.026.
    assert lengths.mean() == pytest.approx(10.67, abs=0.1)
    frequencies = (np.asarray(sample.start)[..., None] == np.arange(6)).mean(axis=0)
    free = np.setdiff1d(np.arange(24), np.flatnonzero(frequencies.max(axis=1) == 1))
    assert len(free) == 21  # all but the fixed corner
    # Seven free pieces: a colour of the fixed corner is on 3 of 21 stickers, another on 4.
    expected = np.array([4, 4, 4, 3, 3, 3]) / 21
    assert np.abs(frequencies[free] - expected).max() < 5 * np.sqrt(0.2 * 0.8 / 2_000)


def test_verify_accepts_an_optimal_plan_only():
    verify = jax.jit(jax.vmap(ENV.verify, in_axes=(None, 0)))
    problem = jax.tree.map(lambda leaf: leaf[0], sampled(1, 5))
    state, plan = problem.start, []
    while not (np.asarray(state) == SOLVED).all():
        successors = STEP_ALL(state[None], jnp.arange(6))[0]
        lengths = ENV.optimal_lengths(problems(successors, np.tile(SOLVED, (6, 1))))
        plan.append(int(lengths.argmin()))
        state = successors[plan[-1]]
    assert len(plan) == ENV.optimal_lengths(problems(problem.start[None], SOLVED[None]))[0]
    plans = [[*plan, -1, 0, 0], [*plan, 0, 1, -1]]
    for position in range(len(plan)):
        for wrong in {*range(6), 17, -1} - {plan[position]}:
            plans.append([*plan, -1, -1, -1])
            plans[-1][position] = wrong
    solved, lengths = verify(problem, jnp.array(plans, jnp.int32))
    assert solved.tolist() == [True, True] + [False] * (len(plans) - 2)
    assert lengths[:2].tolist() == [len(plan), len(plan) + 2]


# --- States and problems from outside.

CORNER_UFR = np.array([3, 4, 9])  # U row 1 column 1, R row 0 column 0, F row 0 column 1: clockwise
CORNER_UFL = np.array([2, 8, 17])  # U row 1 column 0, F row 0 column 0, L row 0 column 1: clockwise
CORNER_DBL = np.array([14, 23, 18])  # D row 1 column 0, B row 1 column 1, L row 1 column 0: clockwise


def changed(places, sources) -> np.ndarray:
    state = SOLVED.copy()
    state[places] = SOLVED[sources]
    return state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (SOLVED[:23], "expected 24 stickers"),
        (np.where(SOLVED == 5, 6, SOLVED), "0..5"),
        (changed([0], [4]), "4 times"),
        (changed(CORNER_UFR, CORNER_UFR[[0, 2, 1]]), "the corner UFR"),  # a mirrored piece
        (changed([0, 23], [23, 0]), "no piece is"),
        (changed(CORNER_UFR, np.roll(CORNER_UFR, 1)), "twisted"),
        (changed([*CORNER_DBL, *CORNER_UFR], [*CORNER_UFR, *CORNER_DBL]), "DBL"),
        (np.array(stickers(rotate(rotate(solved_cubies(), "U"), "U'"))), None),
        (turned("U", "R", "F'"), None),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_invalid_reason_finds_two_identical_corners():
    # UFR in the place of UFL and UBL in the place of UBR: each colour is still there four times.
    state = SOLVED.copy()
    corner_ubr, corner_ubl = np.array([1, 20, 5]), np.array([0, 16, 21])
    state[CORNER_UFL] = SOLVED[CORNER_UFR]
    state[corner_ubr] = SOLVED[corner_ubl]
    assert (np.bincount(state) == 4).all()
    assert "occurs 2 times" in ENV.invalid_reason(state)


def test_a_turned_whole_cube_moves_the_fixed_corner(monkeypatch):
    monkeypatch.setitem(CLOCKWISE, "x", (CLOCKWISE["R"][0], lambda x, y, z: True))
    state = np.array(stickers(rotate(solved_cubies(), "x")))
    assert "DBL must stay" in ENV.invalid_reason(state)


def test_problems_from_scrambles():
    scramble = np.array([[0, 3, 4, -1], [5, -1, -1, -1], [-1, -1, -1, -1]], np.int8)
    built = ENV.problems_from_arrays({"scramble": scramble, "optimal_length": np.array([3, 1, 0])})
    expected = np.stack([turned("U", "R'", "F"), turned("F'"), SOLVED])
    assert (np.asarray(built.start) == expected).all()
    assert ENV.optimal_lengths(built).tolist() == [3, 1, 0]


def test_problems_from_starts_and_goals():
    starts, goals = np.stack([SOLVED, turned("U")]), np.stack([turned("R", "U"), SOLVED])
    built = ENV.problems_from_arrays({"start": starts.astype(np.uint8), "goal": goals.astype(np.uint8)})
    assert ENV.optimal_lengths(built).tolist() == [2, 1]
    assert built.goal.mask.all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "either `start` or `scramble`"),
        ({"start": SOLVED[None], "scramble": np.zeros((1, 1), int)}, "either `start` or `scramble`"),
        ({"start": SOLVED}, r"shape \[24\]"),
        ({"start": SOLVED[None].astype(float)}, "float64"),
        ({"start": np.zeros((0, 24), int)}, r"shape \[0, 24\]"),
        ({"start": np.stack([SOLVED, changed([0], [4])])}, "`start` of problem 1 .* 4 times"),
        ({"start": SOLVED[None], "goal": changed([0], [4])[None]}, "`goal` of problem 0"),
        ({"start": SOLVED[None], "goal": np.tile(SOLVED, (2, 1))}, "2 goals for 1 problems"),
        ({"scramble": np.array([[0], [6]])}, "scramble 1"),
        ({"scramble": np.array([[0, -1, 2]])}, "scramble 0"),
        ({"scramble": np.array([0, 1])}, "shape"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays(arrays)


def test_render_is_the_unfolded_net():
    assert ENV.render(turned("U")).splitlines() == [
        "    U U",
        "    U U",
        "F F R R B B L L",
        "L L F F R R B B",
        "    D D",
        "    D D",
    ]
