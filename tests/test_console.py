"""What is printed: narrow enough, complete, and no terminal codes where there is no terminal."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jepa.answers import Evidence
from jepa.config import Experiment, to_json
from jepa.console import print_report, progress
from jepa.envs.base import full_goal
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import PlanRecords
from jepa.processes import Watchdog
from jepa.report import Report
from jepa.types import Problem

EXPERIMENT = Experiment(env=PocketCube())

ENV = SlidingTiles(rows=2, columns=3)
GOAL = [1, 2, 3, 4, 5, 0]
STARTS = jnp.array([[1, 2, 3, 4, 0, 5], [1, 2, 3, 0, 4, 5], [0, 2, 3, 1, 4, 5]])
RECORDS = PlanRecords(
    actions=np.array([[3, -1, -1], [3, 3, -1], [1, 3, 3]]),
    predicted_costs=np.array([[1, 0.04, np.nan, np.nan], [2.1, 1.2, 0, np.nan], [3, 2, 1, 0]]),
    claims_solved=np.array([True, True, True]),
    solved=np.array([True, True, True]),
    plan_lengths=np.array([1, 2, 3]),
    optimal_lengths=np.array([1, 2, 3]),
    num_nodes_generated=np.array([30, 10, 40]),
    seconds_per_problem=0.5,
)
NUMBERS = {
    "num_problems": 1000, "solved_fraction": 0.994, "solved_fraction_95_low": 0.98, "solved_fraction_95_high": 1.0,
    "mean_plan_length": 11.25, "mean_optimal_length": 10.75, "mean_nodes_generated": 12345.6,
    "exact_model_solved_fraction": 1.0, "exact_model_mean_plan_length": 11.0, "exact_model_mean_optimal_length": 10.8,
    "exact_model_mean_nodes_generated": 12000.0, "random_solved_fraction": 0.0, "random_mean_plan_length": None,
    "random_mean_optimal_length": None, "random_mean_nodes_generated": 12346.0, "claimed_fraction": 0.995,
    "false_claim_fraction": 0.001, "seconds_per_problem": 0.1234, "rollout_accuracy_1": 1.0,
    "rollout_accuracy_4": 0.999, "rollout_accuracy_14": 0.98, "cost_spearman": 0.9876,
    "reencoded_rollout_accuracy_1": 1.0, "reencoded_rollout_accuracy_4": 1.0, "reencoded_rollout_accuracy_14": 0.999,
    "sibling_ranking_accuracy": 0.875, "effective_rank": 101.2, "num_transitions": 14000, "num_parameters": 131180,
    "training_seconds": 123.4, "alarm_collapse": False, "alarm_drift": False, "config": to_json(EXPERIMENT),
}  # fmt: skip


EVIDENCE = Evidence(
    refutations=(None, None, None),
    written_plans=(["right"], ["right", "right"], ["down", "right", "right"]),
    objections=(None, None, None),
)
ANSWERS = {
    "num_refutable": 2, "right_answer_fraction": 0.75, "right_answer_fraction_95_low": 0.5,
    "right_answer_fraction_95_high": 0.875, "exact_model_right_answer_fraction": 1.0,
    "random_right_answer_fraction": 0.625, "solvable_solved_fraction": None, "refutable_refuted_fraction": 0.9,
    "refutable_claimed_fraction": 0.1, "unknown_fraction": 0.05,
}  # fmt: skip


def printed(capsys, monkeypatch, records: PlanRecords = RECORDS, evidence: Evidence = EVIDENCE, **changes) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    problems = Problem(start=STARTS, goal=full_goal(jnp.array(3 * [GOAL])))
    print_report(Report(summary=NUMBERS | changes, problems=problems, records=records, evidence=evidence), ENV)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text and "\r" not in text
    return text


def test_results_and_what_explains_them(capsys, monkeypatch):
    text = printed(capsys, monkeypatch)
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["the learned model", "99.4%", "98.0% - 100.0%", "11.25", "10.75", "12,346"] in rows
    assert ["the exact model", "100.0%", "11.00", "10.80", "12,000"] in rows
    assert ["random plans", "0.0%", "-", "-", "12,346"] in rows
    assert ["plans that claim to reach the goal", "99.5%, 0.1% of these falsely"] in rows
    assert ["rollouts right after 1, 4, 14 moves", "100.0%, 99.9%, 98.0%"] in rows
    assert ["cost and exact distance, Spearman", "0.988"] in rows
    assert "WARNING" not in text


def test_unknown_numbers_are_dashes(capsys, monkeypatch):
    unknown = dict.fromkeys(["mean_plan_length", "mean_optimal_length", "cost_spearman", "sibling_ranking_accuracy"])
    text = printed(capsys, monkeypatch, **unknown, claimed_fraction=0.0)
    assert re.search(r"Spearman +- *\n", text) and re.search(r"claim to reach the goal +none", text)


def test_standing_alarms_are_shown_and_explained(capsys, monkeypatch):
    text = printed(capsys, monkeypatch, alarm_drift=True, alarm_new=True)
    assert "WARNING alarm_drift: the cost fits imagined walks better" in text
    assert "WARNING alarm_new" in text and "alarm_collapse" not in text


def test_example_is_the_solved_problem_of_middle_length(capsys, monkeypatch):
    text = printed(capsys, monkeypatch)
    example = text[text.index("Problem") :].rstrip()
    assert example == "\n".join(
        [
            "Problem 1: solved by 2 moves, where 2 are the fewest possible",
            "",
            "start      goal",
            "1 2 3      1 2 3",
            ". 4 5      4 5 .",
            "",
            "move                      right right",
            "predicted distance    2.1   1.2   0.0",
        ]
    )


def test_answers_are_shown_where_there_are_any(capsys, monkeypatch):
    assert "right answers" not in printed(capsys, monkeypatch)
    text = printed(capsys, monkeypatch, **ANSWERS, checked_plan_fraction=1.0)
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert ["sliding_tiles_2x3: 1,000 problems drawn at random, 2 to be refuted"] in rows
    assert ["right answers", "75.0% (50.0% - 87.5%)"] in rows
    assert ["the same, exact model and random", "100.0%, 62.5%"] in rows
    assert ["solved, of those not to be refuted", "-"] in rows
    assert ["refuted, of those to be refuted", "90.0%, 10.0% claimed to be solved"] in rows
    assert ["nothing said", "5.0%"] in rows
    assert ["plans accepted by another checker", "100.0%"] in rows


def test_a_written_plan_and_a_refutation_are_shown(capsys, monkeypatch):
    assert "refuted" not in printed(capsys, monkeypatch)
    evidence = Evidence(
        refutations=("false", None, "not so in [Z2]"),
        written_plans=(None, ["Theorem", "  since " + 100 * "x"], None),
        objections=(None, None, None),
    )
    some = dataclasses.replace(
        RECORDS, solved=np.array([False, True, False]), claims_solved=np.array([True, True, False])
    )
    monkeypatch.setenv("COLUMNS", "80")
    problems = Problem(start=STARTS, goal=full_goal(jnp.array(3 * [GOAL])))
    print_report(Report(summary=NUMBERS, problems=problems, records=some, evidence=evidence), ENV)
    text = capsys.readouterr().out
    assert f"\n\nTheorem\n  since {100 * 'x'}\n" in text
    assert text.rstrip().endswith("\n\nProblem 2: refuted\n\nnot so in [Z2]")


def test_failures_are_not_chosen_as_long_as_anything_was_solved(capsys, monkeypatch):
    only_last = dataclasses.replace(RECORDS, solved=np.array([False, False, True]))
    assert "Problem 2: solved by 3 moves" in printed(capsys, monkeypatch, only_last)
    none = dataclasses.replace(RECORDS, solved=np.zeros(3, bool), optimal_lengths=np.full(3, -1))
    text = printed(capsys, monkeypatch, none)
    assert "Problem 1: not solved by 2 moves\n" in text


def test_long_plans_are_broken_into_lines(capsys, monkeypatch):
    length = 40
    long = dataclasses.replace(
        RECORDS,
        actions=np.tile(np.arange(length) % 4, (3, 1)),
        predicted_costs=np.tile(np.arange(length, -1.0, -1.0), (3, 1)),
        plan_lengths=np.full(3, length),
    )
    lines = printed(capsys, monkeypatch, long).splitlines()
    moves = [word for line in lines if line.startswith("move ") for word in line.split()[1:]]
    costs = [float(word) for line in lines if line.startswith("predicted distance") for word in line.split()[2:]]
    assert moves == 10 * ["up", "down", "left", "right"]
    assert costs == list(range(length, -1, -1))


# ---- progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test lets pass."""
    now = [0.0]
    monkeypatch.setattr("jepa.console.time.monotonic", lambda: now[0])
    return now


def test_progress_in_a_file_is_a_line_now_and_then(capsys, clock):
    with progress(Watchdog(0.0)) as show:
        for done in range(0, 101, 10):
            show("learned model", done, 100)
            clock[0] += 3.0
        show("exact model", 0, 5000)
        show("exact model", 5000, 5000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "learned model: 40 of 100 problems",
        "learned model: 80 of 100 problems",
        "learned model: 100 of 100 problems",
        "exact model: 5,000 of 5,000 problems",
    ]


def test_progress_in_a_terminal_is_a_bar_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(Watchdog(0.0)) as show:
        show("learned model", 0, 100)
        show("learned model", 100, 100)
        show("exact model", 50, 100)
    out, err = capsys.readouterr()
    assert out == "" and "learned model" in err and "exact model" in err and "100/100" in err
