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
        (SlidingTiles(), "1 2 3", "the 9 numbers of a board, row by row and the blank as 0; came 3"),
        (SlidingTiles(), "1 2 3 4 5 6 7 8 x", "came 'x'"),
        (SlidingTiles(), "1 2 3 4 5 6 8 7 0", "other side by parity"),
        (SlidingTiles(), "1 1 3 4 5 6 8 7 0", "`start` of problem 0 is not a state"),
        (LightsOut(size=3), "###", "expected 9 lights"),
        (Countdown(), "23 7 4 9", "4 numbers and a target, such as 2 3 5 7 -> 24; came '23 7 4 9'"),
        (Countdown(), "23 7 4 -> 9", "expected 4 numbers"),
        (Countdown(), "23 7 4 900 -> 9", "problem 0"),
        (Countdown(), "-3 7 4 9 -> 9", "came '-3'"),
        (EquationalProofs(), "a * b", "expected an equation of two terms"),
        (EquationalProofs(), "a * b = d", "came d in"),
        (EquationalProofs(), "a * (a * (a * (a * a))) = a", "terms of at most 4 levels"),
        (Sudoku(), "1 2 3 4", "reads no problems from text"),
    ],
)
def test_what_is_no_problem_is_refused(env, text, message):
    with pytest.raises(ValueError) as caught:
        read(env, text)
    assert message in str(caught.value)
