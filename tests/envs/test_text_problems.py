"""Problems as a person writes them: read rightly, or refused with a sentence that says what is expected."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.envs.countdown import Countdown
from jepa.envs.equational_proofs import EquationalProofs
from jepa.envs.lights_out import LightsOut
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.rubiks_cube import RubiksCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.envs.sudoku import Sudoku

TWO_IDENTICAL_CORNERS = "DUDU RFRB LFLB DUDU LFLB RFRB"
"""Each colour four times and every corner a piece, but four of the pieces twice."""
ONE_TWISTED_CORNER = "UUUF URRR FRFF DDDD LLLL BBBB"


def read(env, text):
    return jax.tree.map(np.asarray, env.problems_from_arrays(env.arrays_from_text(text)))


@pytest.mark.parametrize("env", [PocketCube(), RubiksCube()], ids=lambda env: env.name)
def test_a_scramble_is_turned(env):
    problem = read(env, "R U2 F’")
    state = env.initial_state(jax.random.key(0))
    for name in ("R", "U", "U", "F'"):
        state = env.step(state, jnp.int32(env.action_names.index(name)))
    assert (problem.start[0] == np.asarray(state)).all()


def test_boards_numbers_and_equations_are_read():
    scramble = read(PocketCube(), "R U F' R2 U").start
    net = PocketCube().render(scramble[0]).split()
    faces = [net[0:4], *([*net[4 + 2 * k : 6 + 2 * k], *net[12 + 2 * k : 14 + 2 * k]] for k in range(4)), net[20:24]]
    by_face = dict(zip("ULFRBD", map("".join, faces), strict=True))
    assert (read(PocketCube(), " ".join(by_face[face] for face in "URFDLB")).start == scramble).all()
    assert read(SlidingTiles(), "8 6 7 / 2 5 4 / 3 0 1").start.tolist() == [[8, 6, 7, 2, 5, 4, 3, 0, 1]]
    assert read(LightsOut(size=3), "#.. / ... / ..#").start.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0, 1]]
    problem = read(Countdown(), "23 7 4 9 -> 99")
    assert problem.start.tolist() == [[23, 7, 4, 9]]
    assert set(problem.goal.tokens.ravel().tolist()) == {99}
    proofs = EquationalProofs()
    problem = read(proofs, "(a * b)' = b' * a'")
    assert proofs.render(problem.start[0]) == "(a * b)'"
    assert proofs.render(problem.goal.tokens[0]) == "b' * a'"


@pytest.mark.parametrize(
    ("env", "text", "message"),
    [
        (PocketCube(), "R X", "expected turns of U U' R R' F F', also twice as in U2; came 'X'"),
        (PocketCube(), "", "separated by blanks; came none"),
        (PocketCube(), "D", "came 'D'"),
        (PocketCube(), "R🙂", "came 'R🙂'"),
        (
            PocketCube(),
            "UUUU RRRR FFFF DDDD LLLL BBB",
            "expected 24 stickers, the four of each face; came 23",
        ),
        (
            PocketCube(),
            "UUUU URRR FFFF DDDD LLLL BBBR",
            "4 times, came U 5 times, R 4 times, F 4 times, D 4",
        ),
        (PocketCube(), "UUUB RRRR FFFF DDDD LLLL BBBU", "the corner UFR is coloured BRF clockwise, which no piece is"),
        (PocketCube(), TWO_IDENTICAL_CORNERS, "the corner piece UFR occurs 2 times"),
        (PocketCube(), ONE_TWISTED_CORNER, "one corner is twisted"),
        (SlidingTiles(), "1 2 3", "the 9 numbers of a board, row by row and the blank as 0; came 3"),
        (SlidingTiles(), "1 2 3 4 5 6 7 8 x", "came 'x'"),
        (SlidingTiles(), "1 2 3 4 5 6 8 7 0", "other side by parity"),
        (SlidingTiles(), "", "came 0 in ''"),
        (SlidingTiles(), f"1 2 3 4 5 6 7 8 {'9' * 30}", "expected the 9 numbers of a board"),
        (SlidingTiles(), f"1 2 3 4 5 6 7 8 {'9' * 5000}", "expected the 9 numbers of a board"),
        (SlidingTiles(), "1 1 3 4 5 6 8 7 0", "`start` of problem 0 is not a state"),
        (LightsOut(size=3), "###", "expected 9 lights"),
        (Countdown(), "23 7 4 9", "4 numbers and a target, such as 2 3 5 7 -> 24; came '23 7 4 9'"),
        (Countdown(), "23 7 4 -> 9", "expected 4 numbers"),
        (Countdown(), "23 7 4 900 -> 9", "problem 0"),
        (Countdown(), "", "expected 4 numbers and a target"),
        (Countdown(), "23 7 4 9 -> 100", "must lie in 1..99 for countdown_4, came 100"),
        (Countdown(), f"23 7 4 9 -> {'9' * 30}", "expected 4 numbers and a target"),
        (Countdown(), "-3 7 4 9 -> 9", "came '-3'"),
        (EquationalProofs(), "a * b", "expected an equation of two terms"),
        (EquationalProofs(), "", "expected an equation of two terms"),
        (EquationalProofs(), "(a * b = c", "expected a closing parenthesis, came nothing"),
        (EquationalProofs(), "(a * b)) = c", "of which ) cannot be read"),
        (EquationalProofs(), f"{'(' * 100_000}a = b", "expected a term with at most 100 parentheses or signs"),
        (EquationalProofs(), "a * b = d", "came d in"),
        (EquationalProofs(), "a * (a * (a * (a * a))) = a", "terms of at most 4 levels"),
        (Sudoku(), "1 2 3 4", "reads no problems from text"),
    ],
)
def test_what_is_no_problem_is_refused(env, text, message):
    with pytest.raises(ValueError) as caught:
        read(env, text)
    assert message in str(caught.value)


def test_a_countdown_that_cannot_be_is_refuted():
    env = Countdown()
    impossible, possible = (
        jax.tree.map(lambda leaf: leaf[0], read(env, text)) for text in ("1 1 1 1 -> 96", "23 2 4 5 -> 46")
    )
    assert env.refutation(possible) is None
    reason = "no way to combine 1 1 1 1 in numbers of 1 to 99 makes 96; 4 is nearest"
    assert env.refutation(impossible) == reason
    assert env.describe_action(possible.start, env.action_names.index("1*2")) == "23 × 2 = 46"
    assert env.describe_action(possible.start, env.action_names.index("1/2")) == "1/2"
