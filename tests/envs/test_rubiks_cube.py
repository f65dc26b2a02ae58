import functools
import itertools
import operator
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs import near_states, rubiks_cube
from jepa.envs.base import full_goal
from jepa.envs.rubiks_cube import MAX_KNOWN_LENGTH, RubiksCube
from jepa.types import Goal, Problem

ENV = RubiksCube()
SOLVED = np.asarray(ENV.initial_state(jax.random.key(0)))
CORNERS, EDGES = np.arange(8), np.arange(8, 20)
STEP = jax.jit(jax.vmap(ENV.step))
VERIFY = jax.jit(jax.vmap(ENV.verify))
# Published problems, kept beside the checkout where there are any; they are no part of the project.
PUBLISHED = pathlib.Path(__file__).parents[3] / "shared" / "benchmarks" / "cube3.npz"


def actions(text: str) -> list[int]:
    """Reads "R U2 F'" as quarter turns."""
    names = [name for word in text.split() for name in [word.removesuffix("2")] * (1 + word.endswith("2"))]
    return [ENV.action_names.index(name) for name in names]


def turned(text: str, state: np.ndarray = SOLVED) -> np.ndarray:
    for action in actions(text):
        state = np.asarray(STEP(jnp.asarray(state)[None], jnp.array([action]))[0])
    return state


def problems(starts, goals) -> Problem:
    return Problem(start=jnp.asarray(starts, jnp.int32), goal=full_goal(jnp.asarray(goals, jnp.int32)))


def lengths(starts, goal=SOLVED) -> list[int]:
    return ENV.optimal_lengths(problems(starts, np.tile(goal, (len(starts), 1)))).tolist()


@functools.cache
def sampled() -> Problem:
    return jax.jit(jax.vmap(ENV.sample_problem))(jax.random.split(jax.random.key(3), 4_000))


# --- Geometry, against 54 stickers that are rotated one by one with coordinate maps written down by hand.

CLOCKWISE = {
    "U": (lambda x, y, z: (-z, y, x), lambda x, y, z: y == 1),  # front goes to the left
    "D": (lambda x, y, z: (z, y, -x), lambda x, y, z: y == -1),  # front goes to the right
    "L": (lambda x, y, z: (x, -z, y), lambda x, y, z: x == -1),  # front goes down
    "R": (lambda x, y, z: (x, z, -y), lambda x, y, z: x == 1),  # front goes up
    "B": (lambda x, y, z: (-y, x, z), lambda x, y, z: z == -1),  # up goes to the left
    "F": (lambda x, y, z: (y, -x, z), lambda x, y, z: z == 1),  # up goes to the right
}
LAYOUT = {  # position of the sticker at (row, column) of a face, both -1..1; the outward normal
    "U": (lambda row, column: (column, 1, row), (0, 1, 0)),
    "L": (lambda row, column: (-1, -row, column), (-1, 0, 0)),
    "F": (lambda row, column: (column, -row, 1), (0, 0, 1)),
    "R": (lambda row, column: (1, -row, -column), (1, 0, 0)),
    "B": (lambda row, column: (-column, -row, -1), (0, 0, -1)),
    "D": (lambda row, column: (column, -1, -row), (0, -1, 0)),
}
NET = [(face, row, column) for face in "U" for row in (-1, 0, 1) for column in (-1, 0, 1)]
NET += [(face, row, column) for row in (-1, 0, 1) for face in "LFRB" for column in (-1, 0, 1)]
NET += [(face, row, column) for face in "D" for row in (-1, 0, 1) for column in (-1, 0, 1)]
"""Stickers in the order in which they are read from the picture."""
SOLVED_NET = "".join(face for face, _, _ in NET)


@functools.cache
def net_turns() -> list[operator.itemgetter]:
    """For each action, a getter that picks the turned net out of a net."""
    places = [(LAYOUT[face][0](row, column), LAYOUT[face][1]) for face, row, column in NET]
    getters = []
    for face, times in itertools.product("UDLRBF", (1, 3)):
        rotate, on_face = CLOCKWISE[face]
        sources = list(range(54))
        for _ in range(times):
            moved = list(sources)
            for index, (position, normal) in enumerate(places):
                if on_face(*position):
                    moved[places.index((rotate(*position), rotate(*normal)))] = sources[index]
            sources = moved
        getters.append(operator.itemgetter(*sources))
    return getters


def nets_within(net: str, depth: int) -> dict[str, int]:
    """Breadth-first search that shares nothing with the shipped code."""
    found, frontier = {net: 0}, [net]
    for distance in range(1, depth + 1):
        reached = {"".join(turn(parent)) for parent in frontier for turn in net_turns()}
        frontier = [child for child in reached if child not in found]
        found.update(dict.fromkeys(frontier, distance))
    return found


def net_of(state: np.ndarray) -> str:
    return "".join(ENV.render(state).split())


def test_turns_agree_with_rotated_stickers():
    net, state = SOLVED_NET, SOLVED
    assert net_of(state) == net
    for action in [*range(12), *np.random.default_rng(0).integers(12, size=80).tolist()]:
        net = "".join(net_turns()[action](net))
        state = turned(ENV.action_names[action], state)
        assert net_of(state) == net, ENV.action_names[action]


def test_pictures_of_different_states_differ():
    starts = np.asarray(sampled().start[:300])
    nets = {net_of(state) for state in starts}
    assert len(nets) == len(np.unique(starts, axis=0)) == 300
    assert {"".join(sorted(net)) for net in nets} == {"".join(sorted(SOLVED_NET))}


def test_actions_are_numbered_as_promised():
    assert ENV.action_names == ("U", "U'", "D", "D'", "L", "L'", "R", "R'", "B", "B'", "F", "F'")


# Turns of the solved cube on the cubie level, as H. Kociemba defines them (kociemba.org/math/cubielevel.htm).
PLACES = "URF UFL ULB UBR DFR DLF DBL DRB UR UF UL UB DR DF DL DB FR FL BL BR".split()


@pytest.mark.parametrize(
    ("turn", "cubies", "orientations"),
    [
        (
            "U",
            "UBR URF UFL ULB DFR DLF DBL DRB UB UR UF UL DR DF DL DB FR FL BL BR",
            "00000000 000000000000",
        ),
        (
            "R",
            "DFR UFL ULB URF DRB DLF DBL UBR FR UF UL UB BR DF DL DB DR FL BL UR",
            "20011002 000000000000",
        ),
        (
            "F",
            "UFL DLF ULB UBR URF DFR DBL DRB UR FL UL UB DR FR DL DB UF DF BL BR",
            "12002100 010001001100",
        ),
    ],
)
def test_tokens_after_one_turn(turn, cubies, orientations):
    corner_tokens = [3 * PLACES.index(name) for name in cubies.split()[:8]]
    edge_tokens = [2 * (PLACES.index(name) - 8) for name in cubies.split()[8:]]
    expected = np.array(corner_tokens + edge_tokens) + [int(digit) for digit in orientations.replace(" ", "")]
    assert turned(turn).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("sequence", "order"),
    [(name, 4) for name in ENV.action_names]
    + [("U U'", 1), ("F' F", 1), ("U D U' D'", 1), ("R2 L2", 2), ("R U R' U'", 6)]
    + [("U R", 105), ("R U2 D' B D'", 1260)],
)
def test_orders_of_known_sequences(sequence, order):
    once = jax.jit(lambda state: jax.lax.scan(lambda s, a: (ENV.step(s, a), None), state, turns)[0])
    turns, state, powers = jnp.array(actions(sequence)), jnp.asarray(SOLVED), []
    for power in range(1, order + 1):
        state = once(state)
        powers += [power] if (np.asarray(state) == SOLVED).all() else []
    assert powers == [order]


def test_superflip():
    superflip = turned("U R2 F B R B2 R U2 L B2 R U' D' R2 F R' L B2 U2 F2")
    assert (superflip[CORNERS] == SOLVED[CORNERS]).all()
    assert (superflip[EDGES] == SOLVED[EDGES] + 1).all()
    assert lengths([superflip]) == [-1]  # 24 quarter turns


# --- Pictures, drawn by hand.


def test_render_a_front_turn():
    assert ENV.render(turned("F")).splitlines() == [
        "      U U U",
        "      U U U",
        "      L L L",
        "L L D F F F U R R B B B",
        "L L D F F F U R R B B B",
        "L L D F F F U R R B B B",
        "      R R R",
        "      D D D",
        "      D D D",
    ]


def test_render_the_checkerboard():
    assert ENV.render(turned("U2 D2 L2 R2 F2 B2")).splitlines() == [
        "      U D U",
        "      D U D",
        "      U D U",
        "L R L F B F R L R B F B",
        "R L R B F B L R L F B F",
        "L R L F B F R L R B F B",
        "      D U D",
        "      U D U",
        "      D U D",
    ]


# --- Distances.

QUARTER_TURN_COUNTS = [1, 12, 114, 1068, 10011, 93840]  # OEIS A080602


def test_near_states_have_the_known_counts_and_different_keys():
    near = rubiks_cube._near_states()
    assert np.bincount(near.distances).tolist() == QUARTER_TURN_COUNTS
    assert (near.keys[1:] > near.keys[:-1]).all()
    assert all(ENV.invalid_reason(state.astype(int)) is None for state in near.states[::100])


def test_states_with_an_equal_key_are_told_apart(monkeypatch):
    near = rubiks_cube._near_states()
    monkeypatch.setattr(near_states, "state_keys", lambda states: np.full(len(states), near.keys[7]))
    states = near.states[[6, 8, 9]]
    assert near.distance(states) == -1
    assert near.distance(near.states[[6, 7, 8]]) == near.distances[7]


@pytest.mark.parametrize("index", [None, 0])
def test_optimal_lengths_agree_with_search_on_the_dynamics(index):
    centre = SOLVED if index is None else np.asarray(sampled().start[index])
    found, frontier = {tuple(centre.tolist()): 0}, [centre]
    for distance in range(1, 4):
        padded = np.resize(frontier, (114, 20))  # one compiled shape
        successors = np.asarray(STEP(np.repeat(padded, 12, axis=0), np.tile(np.arange(12), 114)))
        reached = {tuple(state) for state in successors[: 12 * len(frontier)].tolist()}
        frontier = [np.array(state) for state in reached if state not in found]
        found.update(dict.fromkeys((tuple(state.tolist()) for state in frontier), distance))
    assert np.bincount(list(found.values())).tolist() == QUARTER_TURN_COUNTS[:4]
    others, distances = np.array(list(found)), list(found.values())
    assert lengths(others, centre) == distances
    backwards = problems(np.tile(centre, (len(found), 1)), others)
    backwards = jax.tree.map(lambda leaf: leaf[::5], backwards)
    assert ENV.optimal_lengths(backwards).tolist() == distances[::5]


def test_optimal_lengths_agree_with_a_two_sided_search_over_stickers():
    near_solved = nets_within(SOLVED_NET, 4)
    assert np.bincount(list(near_solved.values())).tolist() == QUARTER_TURN_COUNTS[:5]
    generator, expected, starts = np.random.default_rng(2), [], []
    for num_turns in (7, 8, 9, 9, 10, 11, 12):
        start = turned(" ".join(ENV.action_names[a] for a in generator.integers(12, size=num_turns)))
        near_start = nets_within(net_of(start), 5)
        shared = near_solved.keys() & near_start.keys()
        expected.append(min((near_solved[net] + near_start[net] for net in shared), default=-1))
        starts.append(start)
    assert set(expected) >= {-1, 6, 7, 9}
    assert lengths(starts) == expected


def test_the_same_turns_are_as_long_from_everywhere():
    # The first n of these turns are optimal, as the search over stickers finds up to 9.
    sequence = "U R F D L B U R F D".split()
    for goal in (SOLVED, np.asarray(sampled().start[2])):
        starts = [turned(" ".join(sequence[:num_turns]), goal) for num_turns in range(11)]
        assert lengths(starts, goal) == [*range(10), -1]


def test_optimal_lengths_are_minus_one_where_they_cannot_be_known():
    twisted, random = SOLVED.copy(), np.asarray(sampled().start[0])
    twisted[0] = 1
    starts = [twisted, SOLVED, random, np.full(20, 24), SOLVED]
    goals = [SOLVED, twisted, SOLVED, SOLVED, SOLVED]
    assert ENV.optimal_lengths(problems(starts, goals)).tolist() == [-1, -1, -1, -1, 0]
    partial = Goal(tokens=jnp.asarray(SOLVED)[None], mask=jnp.arange(20)[None] < 19)
    assert ENV.optimal_lengths(Problem(start=jnp.asarray(SOLVED)[None], goal=partial)).tolist() == [-1]


def test_verify_accepts_optimal_plans_only():
    problem, state, plan = problems([turned("U R F' D")], [SOLVED]), turned("U R F' D"), []
    while (state != SOLVED).any():
        successors = np.asarray(STEP(np.tile(state, (12, 1)), np.arange(12)))
        plan.append(int(np.argmin(lengths(successors))))
        state = successors[plan[-1]]
    assert plan == actions("D' F R' U'")
    plans = [[*plan, -1, 0], [*plan, 4, 5]]
    for position in range(4):
        for wrong in {*range(12), 12, -1} - {plan[position]}:
            plans.append([*plan[:position], wrong, *plan[position + 1 :], -1, -1])
    many = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(plans), axis=0), problem)
    solved, num_actions = VERIFY(many, jnp.array(plans))
    assert solved.tolist() == [True, True] + [False] * (len(plans) - 2)
    assert num_actions[:2].tolist() == [4, 6]


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published problems are not on this machine")
def test_published_solutions_are_solutions_and_their_ends_are_optimal():
    with np.load(PUBLISHED, allow_pickle=False) as file:
        arrays = dict(file)
    built, plans = ENV.problems_from_arrays(arrays), jnp.asarray(arrays["optimal_actions"], jnp.int32)
    solved, num_actions = VERIFY(built, plans)
    assert len(solved) == 500 and solved.all()
    assert (np.asarray(num_actions) == arrays["optimal_length"]).all()
    too_short = plans.at[jnp.arange(500), num_actions - 1].set(-1)
    assert not VERIFY(built, too_short)[0].any()
    # Every rest of an optimal solution is optimal.
    states = [built.start]
    for turns in plans.T:
        states.append(jnp.where(turns[:, None] >= 0, STEP(states[-1], jnp.maximum(turns, 0)), states[-1]))
    states = np.asarray(jnp.stack(states, axis=1))[:30]
    for remaining in range(MAX_KNOWN_LENGTH + 2):
        rest = states[np.arange(30), arrays["optimal_length"][:30] - remaining]
        assert lengths(rest) == [remaining if remaining <= MAX_KNOWN_LENGTH else -1] * 30


# --- Sampling.


def test_sampled_problems_are_uniform():
    starts = np.asarray(sampled().start)
    assert (np.asarray(sampled().goal.tokens) == SOLVED).all()
    assert all(ENV.invalid_reason(state) is None for state in starts)
    frequencies = (starts[..., None] == np.arange(24)).mean(axis=0)
    # Every token in every place has the probability 1 / 24, so a frequency has the standard deviation 0.0032.
    assert np.abs(frequencies - 1 / 24).max() < 5 * np.sqrt(1 / 24 * 23 / 24 / 4_000)
    odd = [num_swaps(state[CORNERS] // 3) % 2 for state in starts]
    assert abs(np.mean(odd) - 0.5) < 5 * 0.5 / np.sqrt(4_000)


def num_swaps(permutation: np.ndarray) -> int:
    """Counts swaps that sort a permutation, by its cycles."""
    unseen, num_cycles = set(range(len(permutation))), 0
    while unseen:
        num_cycles += 1
        place = min(unseen)
        while place in unseen:
            unseen.remove(place)
            place = int(permutation[place])
    return len(permutation) - num_cycles


# --- States and problems from outside.


@pytest.mark.parametrize("index", range(4))
def test_of_twelve_ways_to_assemble_a_cube_one_is_right(index):
    right = np.asarray(sampled().start[index])
    for twist, flip, swap in itertools.product(range(3), range(2), range(2)):
        state = right.copy()
        place = index % 8
        state[place] = state[place] // 3 * 3 + (state[place] + twist) % 3
        state[8 + index] = state[8 + index] ^ flip
        if swap:
            state[[17, 19]] = state[[19, 17]]
        reason = ENV.invalid_reason(state)
        if twist:
            assert "corners are twisted" in reason
        elif flip:
            assert "an edge is flipped" in reason
        elif swap:
            assert "two cubies are swapped" in reason
        else:
            assert reason is None


def changed(places: list[int], tokens: list[int]) -> np.ndarray:
    state = SOLVED.copy()
    state[places] = tokens
    return state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (SOLVED, None),
        (turned("U R F'"), None),
        (SOLVED[:19], "expected 20 cubies, 8 corners and then 12 edges, came shape [19]"),
        (changed([3], [24]), "must lie in 0..23, came 0..24"),
        (changed([3], [-1]), "must lie in 0..23, came -1..22"),
        (changed([0], [4]), "the corner UFL occurs 2 times"),
        (changed([19], [0]), "the edge UR occurs 2 times"),
        (changed([0], [1]), "a multiple of 3, came 1"),
        (changed([0, 5], [1, 17]), None),  # 1 + 2: a twist each way
        (changed([8], [1]), "an even number, came 1"),
        (changed([8, 19], [1, 23]), None),
        (changed([0, 1], [3, 0]), "must have the same parity, came odd and even"),
        (changed([8, 19], [22, 0]), "must have the same parity, came even and odd"),
        (changed([0, 1, 8, 19], [3, 0, 22, 0]), None),
    ],
)
def test_invalid_reason(state, reason):
    came = ENV.invalid_reason(state)
    assert came is None if reason is None else reason in came


def test_problems_from_scrambles():
    scramble = np.array([[0, 7, 10, -1], [11, -1, -1, -1], [-1, -1, -1, -1]], np.int8)
    built = ENV.problems_from_arrays({"scramble": scramble, "optimal_length": np.array([3, 1, 0])})
    assert (np.asarray(built.start) == np.stack([turned("U R' F"), turned("F'"), SOLVED])).all()
    assert built.start.dtype == jnp.int32 and built.goal.mask.all()
    assert ENV.optimal_lengths(built).tolist() == [3, 1, 0]


def test_problems_from_starts_and_goals():
    starts, goals = np.stack([SOLVED, turned("U")]), np.stack([turned("R U"), SOLVED])
    built = ENV.problems_from_arrays({"start": starts.astype(np.uint8), "goal": goals.astype(np.uint8)})
    assert ENV.optimal_lengths(built).tolist() == [2, 1]
    assert ENV.optimal_lengths(ENV.problems_from_arrays({"start": goals})).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "expected either `start` or `scramble`, came the arrays"),
        ({"start": SOLVED[None], "scramble": np.zeros((1, 1), int)}, "expected either `start` or `scramble`"),
        ({"start": SOLVED}, r"\[problems, 20\] for rubiks_cube, came int32 of shape \[20\]"),
        ({"start": SOLVED[None].astype(float)}, "came float64"),
        ({"start": np.stack([SOLVED, changed([8], [1])])}, "`start` of problem 1 .* an edge is flipped"),
        ({"start": SOLVED[None], "goal": changed([0], [2])[None]}, "`goal` of problem 0 .* corners are twisted"),
        ({"start": SOLVED[None], "goal": np.tile(SOLVED, (2, 1))}, "2 goals for 1 problems"),
        ({"scramble": np.array([[0], [12]])}, r"scramble 1: expected turns 0..11, .* came \[12\]"),
        ({"scramble": np.array([[0, -2]])}, r"scramble 0: .* came \[0, -2\]"),
        ({"scramble": np.array([[0, -1, 2]])}, r"padded with -1 at the end, came \[0, -1, 2\]"),
        ({"scramble": np.array([0, 1])}, r"\[problems, turns\], came int64 of shape \(2,\)"),
        ({"scramble": np.zeros((2, 3))}, "came float64"),
        ({"scramble": np.zeros((0, 3), int)}, r"shape \(0, 3\)"),
    ],
)
def test_problems_from_bad_arrays(arrays, message):
    with pytest.raises(ValueError, match=message):
        ENV.problems_from_arrays(arrays)
