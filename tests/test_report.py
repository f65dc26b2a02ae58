"""Records to numbers, JSON and files."""

import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jepa.agents.random_plans import RandomPlans
from jepa.answers import Evidence
from jepa.config import Experiment, to_json
from jepa.envs.base import full_goal
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import PlanRecords
from jepa.planners.random_shooting import RandomShooting
from jepa.report import Report, _summary, false_claim_fraction, require_writable, write_report
from jepa.runs import Run
from jepa.types import Problem

STATES = jnp.array([24 * [0], 24 * [1], 24 * [2], 24 * [3]])
RECORDS = PlanRecords(
    actions=np.array([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [1, 1, 1]]),
    predicted_costs=np.array(
        [[3, 2, 1, 0.12345], [1, 0, math.nan, math.nan], [0, math.nan, math.nan, math.nan], [3, 3, 3, 3]]
    ),
    claims_solved=np.array([True, True, True, False]),
    solved=np.array([True, True, False, False]),
    plan_lengths=np.array([3, 1, 0, 3]),
    optimal_lengths=np.array([2, 1, 9, -1]),
    num_nodes_generated=np.array([30, 10, 0, 40]),
    seconds_per_problem=0.5,
)
EVIDENCE = Evidence(
    refutations=(None, None, None, "no way"),
    written_plans=(["turn", "turn", "stop"], ["up"], None, None),
    objections=(None, "up is down", None, None),
)
NOTHING = dataclasses.replace(RECORDS, solved=np.zeros(4, bool), claims_solved=np.zeros(4, bool))
RUN = Run(
    experiment=Experiment(env=SlidingTiles(rows=2, columns=3), num_transitions=28, seed=5),
    params={"world_model": {"a": np.zeros((2, 3))}, "cost": {"b": np.zeros(4)}},
    training_seconds=12.0,
    num_gradient_samples=99,
    num_transitions=28,
    num_verifier_calls=0,
    alarms={"alarm_collapse": False, "alarm_drift": True},
)


def report(records: PlanRecords = RECORDS, summary: dict | None = None) -> Report:
    problems = Problem(start=STATES, goal=full_goal(STATES))
    return Report(summary=summary or {}, problems=problems, records=records, evidence=EVIDENCE)


def test_who_searches_the_true_dynamics_asks_about_every_node():
    agent = RandomPlans(planner=RandomShooting(num_samples=1, horizon=3))
    run = dataclasses.replace(RUN, experiment=dataclasses.replace(RUN.experiment, agent=agent), num_verifier_calls=7)
    summary = _summary(run, RECORDS, ceiling=None, floor=NOTHING)
    assert (summary["training_verifier_calls"], summary["mean_planning_verifier_calls"]) == (7, 20.0)


def test_summary_counts_by_hand():
    summary = _summary(RUN, RECORDS, ceiling=RECORDS, floor=NOTHING)
    assert summary["num_problems"] == 4
    assert summary["solved_fraction"] == 0.5
    assert summary["solved_fraction_95_low"] < 0.5 < summary["solved_fraction_95_high"]
    assert summary["mean_plan_length"] == 2.0  # over the two solved: 3 and 1
    assert summary["mean_optimal_length"] == 1.5  # over the same: 2 and 1
    assert summary["optimal_fraction"] == 0.5
    assert summary["mean_nodes_generated"] == 20.0  # over all
    assert summary["claimed_fraction"] == 0.75
    assert summary["false_claim_fraction"] == pytest.approx(1 / 3)
    assert summary["exact_model_solved_fraction"] == 0.5
    assert summary["random_solved_fraction"] == 0.0
    assert math.isnan(summary["random_mean_plan_length"])
    assert summary["num_parameters"] == 10
    assert (summary["num_transitions"], summary["num_gradient_samples"], summary["seed"]) == (28, 99, 5)
    assert (summary["training_verifier_calls"], summary["mean_planning_verifier_calls"]) == (0, 0.0)  # it imagines
    assert (summary["alarm_collapse"], summary["alarm_drift"]) == (False, True)
    assert summary["config"] == to_json(RUN.experiment)


def test_unknown_optima_are_left_out():
    unknown = dataclasses.replace(RECORDS, optimal_lengths=np.array([-1, 1, -1, -1]))
    summary = _summary(RUN, unknown, ceiling=unknown, floor=unknown)
    assert (summary["mean_plan_length"], summary["mean_optimal_length"], summary["optimal_fraction"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("claims", "solved", "expected"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 0.0),
        ([1, 1, 1, 1], [1, 1, 1, 0], 0.25),
        ([1, 0, 0, 0], [0, 1, 1, 1], 1.0),  # one of all four problems, but every claim
        ([0, 0, 0, 0], [1, 0, 1, 0], 0.0),
    ],
)
def test_false_claims_are_a_share_of_the_claims(claims, solved, expected):
    records = dataclasses.replace(RECORDS, claims_solved=np.array(claims, bool), solved=np.array(solved, bool))
    assert false_claim_fraction(records) == expected


def test_files_hold_every_problem(tmp_path):
    path = write_report(report(summary={"solved_fraction": 0.5}), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "summary.json"
    assert json.loads(path.read_text()) == {"solved_fraction": 0.5}
    lines = [json.loads(line) for line in (path.parent / "records.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "start": 24 * [0],
        "goal": 24 * [0],
        "actions": [0, 1, 2],
        "predicted_costs": [3.0, 2.0, 1.0, 0.1235],
        "claims_solved": True,
        "solved": True,
        "optimal_length": 2,
        "num_nodes_generated": 30,
        "answer": "solved",
        "written_plan": ["turn", "turn", "stop"],
        "objection": None,
        "refutation": None,
    }
    assert [line["actions"] for line in lines[1:]] == [[3], [], [1, 1, 1]]
    assert [line["optimal_length"] for line in lines] == [2, 1, 9, None]
    assert [line["answer"] for line in lines] == ["solved", "solved", "solved", "refuted"]
    assert (lines[1]["objection"], lines[3]["written_plan"], lines[3]["refutation"]) == ("up is down", None, "no way")
    assert sorted(file.name for file in path.parent.iterdir()) == ["records.jsonl", "summary.json"]


def test_second_report_replaces_the_first(tmp_path):
    write_report(report(summary={"solved_fraction": 0.5}), tmp_path)
    write_report(report(summary={"solved_fraction": 0.25}), tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == {"solved_fraction": 0.25}


def test_results_folder_is_tried_first(tmp_path):
    require_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot write results to .*file .*choose --output-dir"):
        require_writable(tmp_path / "file")
