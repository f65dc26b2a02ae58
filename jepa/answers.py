"""Proof or disproof: what a solver says to each problem, the evidence for it, and how much of it is right."""

import dataclasses
import enum
import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from jepa.envs.base import Env
from jepa.evaluation import PlanRecords
from jepa.metrics import wilson_interval
from jepa.types import Problem


class Answer(enum.StrEnum):
    """What a solver says to a problem."""

    SOLVED = "solved"
    """The planner claims that its plan reaches the goal; the verifier tells whether that is true."""
    REFUTED = "refuted"
    """The planner claims no plan, and the domain gives a reason why there is none."""
    UNKNOWN = "unknown"
    """Neither."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a person can read about each of B problems."""

    refutations: tuple[str | None, ...]
    """Why a problem has no solution, whatever the planner says; None where the domain finds no reason."""
    written_plans: tuple[list[str] | None, ...]
    """The lines of each plan that the verifier accepts; None for the others."""
    objections: tuple[str | None, ...]
    """What the domain's independent checker has against a written plan; None where there is nothing to say."""

    @property
    def is_refutable(self) -> Bool[np.ndarray, " B"]:
        """Which problems have a refutation."""
        return np.array([reason is not None for reason in self.refutations], bool)


def find_refutations(env: Env, problems: Problem) -> tuple[str | None, ...]:
    """Returns the domain's reason why each of B problems has no solution, and None where it finds none."""
    return tuple(env.refutation(_problem(problems, index)) for index in range(len(problems.start)))


def gather_evidence(env: Env, problems: Problem, records: PlanRecords, refutations: tuple[str | None, ...]) -> Evidence:
    """Writes out the plans that solve their problems, and has them checked once more where the domain has a checker.

    Args:
      env: the domain.
      problems: B problems.
      records: the plans for them.
      refutations: as `find_refutations` returns them.

    Raises:
      ValueError: a problem has both a verified plan and a refutation, so that the domain contradicts itself.
    """
    written: list[list[str] | None] = [None] * len(refutations)
    objections: list[str | None] = [None] * len(refutations)
    check = env.plan_checker
    for index in np.flatnonzero(records.solved).tolist():
        if refutations[index] is not None:
            raise ValueError(
                f"problem {index} of {env.name} has a verified plan, and a refutation: {refutations[index]}"
            )
        problem = _problem(problems, index)
        lines = env.written_plan(problem, records.actions[index, : records.plan_lengths[index]])
        written[index], objections[index] = lines, None if check is None else check(problem, lines)
    return Evidence(refutations=refutations, written_plans=tuple(written), objections=tuple(objections))


def answer(claims_solved: bool, refutation: str | None) -> Answer:
    """Returns what is said to a problem: what the planner claims, and only where it claims nothing the refutation."""
    if claims_solved:
        return Answer.SOLVED
    return Answer.UNKNOWN if refutation is None else Answer.REFUTED


def right_answers(records: PlanRecords, is_refutable: Bool[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """Returns which problems are answered rightly: by a claimed plan that is verified, or by a refutation."""
    return np.where(records.claims_solved, records.solved, is_refutable)


def answer_figures(
    env: Env, evidence: Evidence, records: PlanRecords, ceiling: PlanRecords | None, floor: PlanRecords
) -> dict[str, Any]:
    """Returns the figures of answers, of which each is there only where it says something.

    Args:
      env: the domain.
      evidence: that of the problems.
      records: plans of the solver that is graded.
      ceiling: plans by the exact model, where the graded ones are by a learned one.
      floor: plans by chance.

    Returns:
      Where the domain has a checker: `checked_plan_fraction` of the verified plans that it accepts.

      Where some problem is refutable: `num_refutable`; `right_answer_fraction` of all problems, with a 95 % interval,
      and the same of the ceiling and the floor, which have the same refutations; `solvable_solved_fraction` of the
      problems without a refutation that have a verified plan; of those with one `refutable_refuted_fraction`, which
      are refuted, and `refutable_claimed_fraction`, for which the planner wrongly claims a plan; `unknown_fraction` of
      all problems, to which nothing is said.
    """
    figures: dict[str, Any] = {}
    if env.plan_checker is not None:
        objections = [evidence.objections[index] for index in np.flatnonzero(records.solved)]
        figures["checked_plan_fraction"] = _share(np.array([reason is None for reason in objections], bool))
    refutable = evidence.is_refutable
    if not refutable.any():
        return figures
    right = right_answers(records, refutable)
    low, high = wilson_interval(int(right.sum()), len(right))
    if ceiling is not None:
        figures["exact_model_right_answer_fraction"] = _share(right_answers(ceiling, refutable))
    return figures | {
        "num_refutable": int(refutable.sum()),
        "right_answer_fraction": _share(right),
        "right_answer_fraction_95_low": low,
        "right_answer_fraction_95_high": high,
        "random_right_answer_fraction": _share(right_answers(floor, refutable)),
        "solvable_solved_fraction": _share(records.solved[~refutable]),
        "refutable_refuted_fraction": _share(~records.claims_solved[refutable]),
        "refutable_claimed_fraction": _share(records.claims_solved[refutable]),
        "unknown_fraction": _share(~records.claims_solved & ~refutable),
    }


def _share(values: Bool[np.ndarray, " B"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _problem(problems: Problem, index: int) -> Problem:
    return jax.tree.map(lambda leaf: np.asarray(leaf[index]), problems)
