"""What is said to each problem, and how much of it is right."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jepa.answers import Answer, answer, answer_figures, find_refutations, gather_evidence, right_answers
from jepa.envs.base import full_goal
from jepa.envs.equational_proofs import EquationalProofs
from jepa.envs.heap_terms import encode_term
from jepa.envs.proof_checker import ALPHABETS, parse
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.envs.theories import THEORIES
from jepa.evaluation import PlanRecords
from jepa.types import Problem

GROUPS, TILES = EquationalProofs(), SlidingTiles(rows=2, columns=3)
RIGHT_UNIT = GROUPS.action_names.index("right unit > 1")
# Two theorems by one rewrite; two equations that are false; one that needs more than an action.
EQUATIONS = [("a * e", "a"), ("b * e", "b"), ("a * e", "b"), ("b * e", "c"), ("e * (c * e)", "c")]


def terms(side: int) -> jnp.ndarray:
    read = [parse(equation[side], ALPHABETS["groups"]) for equation in EQUATIONS]
    return jnp.stack([encode_term(THEORIES["groups"], GROUPS.max_depth, term) for term in read])


PROBLEMS = Problem(start=terms(0), goal=full_goal(terms(1)))


def records(claims: list[int], solved: list[int], action: int = RIGHT_UNIT) -> PlanRecords:
    """Every plan is one action, the right one for the first two problems."""
    count = len(claims)
    return PlanRecords(
        actions=np.tile([action, -1], (count, 1)),
        predicted_costs=np.zeros((count, 3)),
        claims_solved=np.array(claims, bool),
        solved=np.array(solved, bool),
        plan_lengths=np.ones(count, int),
        optimal_lengths=np.array([1, 1, -1, -1, 2][:count]),
        num_nodes_generated=np.ones(count, int),
        seconds_per_problem=0.0,
    )


REFUTATIONS = find_refutations(GROUPS, PROBLEMS)
# Proved, proved without a claim, refuted, wrongly claimed, nothing.
RECORDS = records(claims=[1, 0, 0, 1, 0], solved=[1, 1, 0, 0, 0])
EXACT = records(claims=[1, 1, 0, 0, 1], solved=[1, 1, 0, 0, 1])
NOTHING = records(claims=[0] * 5, solved=[0] * 5)


def test_refutations_are_those_of_the_domain():
    assert [reason is None for reason in REFUTATIONS] == [True, True, False, False, True]
    assert REFUTATIONS[2] == "a * e = b is false in Z2 with a = 0, b = 1: 0 and 1"
    assert find_refutations(TILES, Problem(start=jnp.zeros((3, 6), int), goal=full_goal(jnp.zeros((3, 6), int)))) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("claims_solved", "refutation", "expected"),
    [
        (True, None, Answer.SOLVED),
        (True, "reason", Answer.SOLVED),
        (False, "reason", Answer.REFUTED),
        (False, None, Answer.UNKNOWN),
    ],
)
def test_a_claim_comes_before_a_refutation(claims_solved, refutation, expected):
    assert answer(claims_solved, refutation) is expected


def test_evidence_is_what_can_be_read():
    evidence = gather_evidence(GROUPS, PROBLEMS, RECORDS, REFUTATIONS)
    assert evidence.refutations == REFUTATIONS
    assert evidence.is_refutable.tolist() == [False, False, True, True, False]
    assert evidence.written_plans[0] == [
        "Theorem of groups: a * e = a",
        "  a * e",
        "= a      by right unit, left to right, at root",
    ]
    assert [lines is None for lines in evidence.written_plans] == [False, False, True, True, True]
    assert evidence.objections == (None,) * 5


def test_a_domain_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="problem 0 of equational_proofs_groups has a verified plan, and .*: reason"):
        gather_evidence(GROUPS, PROBLEMS, RECORDS, ("reason", *REFUTATIONS[1:]))


class LyingProofs(EquationalProofs):
    """Writes every proof as one of a = a."""

    def written_plan(self, problem, actions):
        return ["Theorem of groups: a = a", "  a"]


def test_the_checker_sees_what_is_wrong_with_a_written_plan():
    evidence = gather_evidence(LyingProofs(), PROBLEMS, RECORDS, REFUTATIONS)
    assert "as the left side of the theorem, came a" in evidence.objections[0]
    figures = answer_figures(LyingProofs(), evidence, RECORDS, EXACT, NOTHING)
    assert figures["checked_plan_fraction"] == 0.0


def test_figures_by_hand():
    evidence = gather_evidence(GROUPS, PROBLEMS, RECORDS, REFUTATIONS)
    figures = answer_figures(GROUPS, evidence, RECORDS, EXACT, NOTHING)
    low, high = figures.pop("right_answer_fraction_95_low"), figures.pop("right_answer_fraction_95_high")
    assert 0 < low < 0.4 < high < 1
    assert figures == {
        "checked_plan_fraction": 1.0,  # of the first two
        "num_refutable": 2,
        "right_answer_fraction": 0.4,  # the first and the third
        "exact_model_right_answer_fraction": 1.0,
        "random_right_answer_fraction": 0.4,  # by refutations alone
        "solvable_solved_fraction": pytest.approx(2 / 3),
        "refutable_refuted_fraction": 0.5,
        "refutable_claimed_fraction": 0.5,
        "unknown_fraction": 0.4,  # the second and the last
    }
    assert right_answers(RECORDS, evidence.is_refutable).tolist() == [True, False, True, False, False]


def test_figures_are_there_only_where_they_say_something():
    solvable = dataclasses.replace(gather_evidence(GROUPS, PROBLEMS, NOTHING, (None,) * 5), refutations=(None,) * 5)
    figures = answer_figures(GROUPS, solvable, NOTHING, NOTHING, NOTHING)
    assert set(figures) == {"checked_plan_fraction"} and math.isnan(figures["checked_plan_fraction"])
    assert answer_figures(TILES, solvable, NOTHING, NOTHING, NOTHING) == {}
    refutable = dataclasses.replace(solvable, refutations=("reason",) * 5)
    assert math.isnan(answer_figures(TILES, refutable, NOTHING, NOTHING, NOTHING)["solvable_solved_fraction"])


def test_a_plan_is_written_as_the_names_of_its_actions_by_default():
    start, goal = jnp.array([1, 2, 3, 0, 4, 5]), jnp.array([1, 2, 3, 4, 5, 0])
    problem = Problem(start=start, goal=full_goal(goal))
    assert TILES.written_plan(problem, np.array([3, 3, -1, 0])) == ["right", "right"]
    assert TILES.refutation(problem) is None and TILES.plan_checker is None
