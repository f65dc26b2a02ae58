"""The run folder: what training leaves there, resuming to the same bits, and everything that is refused."""

import dataclasses
import functools
import json
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jepa import runs
from jepa.agents.base import Agent
from jepa.agents.inverse_model import InverseModelPolicy
from jepa.agents.latent_planner import LatentPlanner
from jepa.agents.random_plans import RandomPlans
from jepa.alarms import ALARMS, read_alarms
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, debug, to_json
from jepa.dataset import dataset_path
from jepa.envs.arithmetic_graph import ArithmeticGraph
from jepa.envs.equational_proofs import EquationalProofs
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation
from jepa.run_config import changed_training, read_config
from jepa.run_log import RunLog, read_jsonl
from jepa.runs import load_run
from jepa.stopping import Stopped, stop_requests
from jepa.training import Schedule, Stage, WorldModelStage

SCHEDULE = Schedule(num_updates=6, updates_per_call=2, batch_size=32)
EXPERIMENT = dataclasses.replace(
    debug(
        Experiment(
            env=SlidingTiles(rows=2, columns=3),
            behaviour=NonBacktrackingWalks(walk_length=14),
            agent=LatentPlanner(world_model_training=SCHEDULE, cost_training=SCHEDULE),
        )
    ),
    num_transitions=70,
)
EXPERIMENT = dataclasses.replace(
    EXPERIMENT, agent=dataclasses.replace(EXPERIMENT.agent, world_model_training=SCHEDULE, cost_training=SCHEDULE)
)
NUM_UPDATES = 12
train = functools.partial(runs.train, seconds_between_checkpoints=0.0)


def changed(**values) -> Experiment:
    """The experiment with other values; those of its planner or its encoder by name."""
    agent = EXPERIMENT.agent
    if "planner_width" in values:
        planner = dataclasses.replace(agent.planner, width=values.pop("planner_width"))
        agent = dataclasses.replace(agent, planner=planner)
    return dataclasses.replace(EXPERIMENT, agent=agent, **values)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but for the lock, which names the process that held it last."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def metrics(folder: Path) -> list[dict]:
    """The rows of metrics.jsonl but for the clock."""
    clock = ("unix_time_seconds", "samples_per_second")
    return [{name: x for name, x in row.items() if name not in clock} for row in read_jsonl(folder / "metrics.jsonl")]


def params_of(folder: Path) -> dict:
    return jax.tree.map(np.asarray, load_run(folder, read_config(folder)).params)


def assert_same_result(folder: Path, other: Path) -> None:
    assert metrics(folder) == metrics(other)
    jax.tree.map(np.testing.assert_array_equal, params_of(folder), params_of(other))


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """A working directory of these tests' own, with the recorded moves in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workplace"))
        yield


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def unbroken(said) -> Path:
    """A run that was trained in one go; no test changes it."""
    compiled = []
    compile_stage = Stage.compile

    def compile_and_remember(self):
        compiled.append(compile_stage(self))
        return compiled[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "compile", compile_and_remember)
        train(EXPERIMENT, Path("unbroken"), said.append)
    assert [call._cache_size() for call in compiled] == [1, 1], "a stage was compiled again after its first call"
    return Path("unbroken")


@pytest.fixture
def copy(unbroken, tmp_path) -> Path:
    """A copy of that run, to be damaged."""
    shutil.copytree(unbroken, tmp_path / "copy")
    return tmp_path / "copy"


# ---- training


def test_folder_says_what_was_trained_and_how(unbroken, said):
    assert read_config(unbroken) == EXPERIMENT
    provenance = json.loads((unbroken / "provenance.json").read_text())
    assert provenance["versions"]["jax"] == jax.__version__
    assert (provenance["num_updates_done"], provenance["earlier_starts"]) == (0, [])
    rows = metrics(unbroken)
    assert [row["stage"] for row in rows] == 3 * ["world_model"] + 3 * ["cost"]
    assert [row["num_updates"] for row in rows] == [2, 4, 6, 2, 4, 6]
    assert list((unbroken / "tensorboard").rglob("events*"))
    assert said[0].startswith("70 recorded moves without rewards")
    assert f"Trained {NUM_UPDATES} updates" in said[1]


def test_run_is_loaded_as_it_was_trained(unbroken):
    run = load_run(unbroken, EXPERIMENT)
    assert run.num_gradient_samples == 2 * 6 * 32
    assert run.training_seconds > 0
    assert set(run.params) == {"world_model", "cost"}
    assert set(run.alarms) == {"alarm_collapse", "alarm_drift"}


def test_second_start_says_complete_and_changes_nothing(unbroken, monkeypatch):
    before, said = content(unbroken), []
    monkeypatch.setattr(runs, "collect", None)  # The data are not even looked at.
    train(EXPERIMENT, unbroken, said.append)
    assert "The run is complete: 12 updates" in said[0]
    assert content(unbroken) == before


def test_training_reads_recorded_moves_only(unbroken, monkeypatch):
    """With every method of the environment that knows of dynamics or goals out of order.

    Only `collect`, which records or else checks that what was recorded obeys the rules, may ask; its folder is there.
    """

    def poisoned(*arguments, **named):
        raise AssertionError("training has asked the environment")

    for name in ("step", "legal_actions", "initial_state", "sample_problem", "is_solved", "verify", "optimal_lengths"):
        assert callable(getattr(SlidingTiles, name))
        monkeypatch.setattr(SlidingTiles, name, poisoned)
    monkeypatch.setattr(runs, "collect", lambda *dataset: dataset_path(dataset[-1], *dataset[:-1]))
    train(EXPERIMENT, Path("poisoned"), lambda text: None)
    assert_same_result(Path("poisoned"), unbroken)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("rows_before", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_killed_run_resumes_to_the_same_bits(unbroken, tmp_path, monkeypatch, rows_before):
    """Killed after a row was logged and before its checkpoint was saved, in the first and in the second stage."""
    write, said = RunLog.write, []

    def write_and_die(self, *arguments):
        write(self, *arguments)
        if len(read_jsonl(tmp_path / "metrics.jsonl")) > rows_before:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", write_and_die)
        with pytest.raises(Killed):
            train(EXPERIMENT, tmp_path, said.append)
    assert len(metrics(tmp_path)) == rows_before + 1
    with pytest.raises(ValueError, match=f"is trained only to {2 * rows_before} of 12 updates"):
        load_run(tmp_path, EXPERIMENT)
    train(EXPERIMENT, tmp_path, said.append)
    assert f"Resuming after {2 * rows_before} of 12 updates" in said
    assert_same_result(tmp_path, unbroken)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["num_updates_done"] == 2 * rows_before
    assert [start["num_updates_done"] for start in provenance["earlier_starts"]] == [0]


def test_what_a_killed_start_has_left_is_removed(unbroken, copy):
    before = content(copy)
    for name in ("config.json", "provenance.json", "metrics.jsonl"):
        (copy / f".{name}.4711.tmp").write_text("{")
    (copy / ".summary.json.4711.tmp").write_text("{")  # Of a grading, which may still be going on.
    train(EXPERIMENT, copy, lambda text: None)
    assert content(copy) == before | {".summary.json.4711.tmp": b"{"}


@pytest.mark.parametrize(
    ("rows_before", "number"), [pytest.param(0, signal.SIGINT, marks=pytest.mark.slow), (4, signal.SIGTERM)]
)
def test_a_signal_stops_behind_the_running_call_and_loses_nothing(unbroken, tmp_path, monkeypatch, rows_before, number):
    write, before = RunLog.write, signal.signal(number, signal.default_int_handler)

    def write_and_ask(self, *arguments):
        write(self, *arguments)
        if len(read_jsonl(tmp_path / "metrics.jsonl")) > rows_before:
            os.kill(os.getpid(), number)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(RunLog, "write", write_and_ask)
            with pytest.raises(Stopped) as stop:
                train(EXPERIMENT, tmp_path, lambda text: None)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    done = 2 * (rows_before + 1)
    assert (stop.value.number, stop.value.num_updates) == (number, done)
    assert len(metrics(tmp_path)) == rows_before + 1
    with pytest.raises(ValueError, match=f"is trained only to {done} of 12 updates"):
        load_run(tmp_path, EXPERIMENT)
    train(EXPERIMENT, tmp_path, lambda text: None)
    assert_same_result(tmp_path, unbroken)


def test_a_second_signal_ends_at_once():
    """Here only that the system will act on it; `tests/faults/test_signals.py` sends one in the middle of a call."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_requests() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert request.number == signal.SIGINT
            assert {signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_DFL}
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def flip_bytes(folder: Path) -> None:
    for path in folder.rglob("d/*"):
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 255
        path.write_bytes(damaged)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_newest_checkpoint_is_passed_over(unbroken, copy):
    flip_bytes(copy / "checkpoints" / "00000012")
    with pytest.warns(UserWarning, match="checkpoint 12 .* is damaged"):
        train(EXPERIMENT, copy, lambda text: None)
    assert_same_result(copy, unbroken)


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_overwritten_where_every_checkpoint_is_damaged(copy):
    flip_bytes(copy / "checkpoints")
    before = content(copy)
    with pytest.raises(ValueError, match="expected a good checkpoint"):
        train(EXPERIMENT, copy, lambda text: None)
    with pytest.raises(ValueError, match="expected a good checkpoint"):
        load_run(copy, EXPERIMENT)
    assert content(copy) == before


# ---- the world model of another run


def with_agent(agent: Agent) -> Experiment:
    return dataclasses.replace(EXPERIMENT, agent=agent)


OTHER_COST = with_agent(
    dataclasses.replace(EXPERIMENT.agent, cost_training=dataclasses.replace(SCHEDULE, clip_norm=0.5))
)
POLICY = with_agent(
    InverseModelPolicy(
        world_model=EXPERIMENT.agent.world_model,
        world_model_training=SCHEDULE,
        policy_training=dataclasses.replace(SCHEDULE, num_updates=4),
    )
)


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(OTHER_COST, id="other_cost", marks=pytest.mark.slow), pytest.param(POLICY, id="policy")],
)
def test_world_model_of_another_run_saves_its_training_and_changes_nothing(copy, tmp_path, monkeypatch, experiment):
    alone, after = tmp_path / "alone", tmp_path / "after"
    train(experiment, alone, lambda text: None)
    slow = {"samples_per_second": 2 * SCHEDULE.batch_size / 1000}  # As if each of its calls had taken 1,000 s.
    rows = [row | (slow if row["stage"] == "world_model" else {}) for row in read_jsonl(copy / "metrics.jsonl")]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    before, said = content(copy), []
    with monkeypatch.context() as patch:
        patch.setattr(WorldModelStage, "update", None)
        train(experiment, after, said.append, world_model_from=copy)
    assert said[0] == f"Takes over the world model of {copy}"
    assert "Resuming after 6 of " in said[2]
    assert_same_result(after, alone)
    assert content(copy) == before
    assert read_config(after) == experiment
    assert list((after / "tensorboard" / "world_model").rglob("events*"))
    provenance = json.loads((after / "provenance.json").read_text())
    assert [provenance["num_updates_done"], len(provenance["earlier_starts"])] == [6, 1]
    # What the world model has taken is charged, as if it had been trained here.
    assert 3 * 1000 < load_run(after, experiment).training_seconds < 3 * 1000 + 600
    again = []
    train(experiment, after, again.append, world_model_from=Path("nowhere"))  # Complete, so it is not looked for.
    assert "The run is complete" in again[0]


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        (
            changed(seed=1),
            "the world model of unbroken is another one:\n  --seed: 0 -> 1\n.*without --world-model-from",
        ),
        (
            with_agent(dataclasses.replace(EXPERIMENT.agent, world_model_training=Schedule(learning_rate=0.5))),
            "is another one:\n  --world-model-training.num-updates: 6 -> 1000",
        ),
        (with_agent(RandomPlans()), "taken over by and from a run that has one, which is not so here and in unbroken"),
    ],
)
def test_another_world_model_is_refused_before_anything_is_written(unbroken, tmp_path, experiment, message):
    with pytest.raises(ValueError, match=message):
        train(experiment, tmp_path / "run", lambda text: None, world_model_from=unbroken)
    assert not content(tmp_path / "run")


def test_a_world_model_in_training_is_not_taken_over(tmp_path, monkeypatch):
    write = RunLog.write

    def write_and_die(self, *arguments):
        write(self, *arguments)
        if len(read_jsonl(tmp_path / "half" / "metrics.jsonl")) > 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", write_and_die)
        with pytest.raises(Killed):
            train(EXPERIMENT, tmp_path / "half", lambda text: None)
    with pytest.raises(ValueError, match="the world model of .*half is trained only to 2 of 6 updates"):
        train(OTHER_COST, tmp_path / "run", lambda text: None, world_model_from=tmp_path / "half")
    with pytest.raises(ValueError, match="expected a run folder, but there is no .*config.json"):
        train(OTHER_COST, tmp_path / "run", lambda text: None, world_model_from=tmp_path / "nowhere")


# ---- what is refused


def test_run_of_other_training_is_refused_with_its_flags(copy):
    before = content(copy)
    with pytest.raises(ValueError) as caught:
        train(changed(seed=1, num_transitions=84, planner_width=4), copy, lambda text: None)
    assert "\n  --num-transitions: 70 -> 84\n  --seed: 0 -> 1\nChoose another folder" in str(caught.value)
    assert "planner" not in str(caught.value)
    assert content(copy) == before
    with pytest.raises(ValueError, match="only planner and test problems can be changed.*\n  --seed: 0 -> 1$"):
        load_run(copy, changed(seed=1))


def test_planner_and_problems_may_change(copy):
    other = changed(planner_width=4, evaluation=Evaluation(num_problems=7, problem_seed=2))
    assert load_run(copy, other).experiment == other
    said = []
    train(other, copy, said.append)
    assert "change nothing in training:\n  --planner.width: 8 -> 4\n" in said[0]
    assert "complete" in said[1]
    assert read_config(copy) == other


@pytest.mark.parametrize(
    ("env", "free", "trained"),
    [
        (ArithmeticGraph(num_quantities=28), {"min_steps": 10, "max_steps": 18}, {"modulus": 7}),
        (EquationalProofs(), {"refutable_fraction": 0.5}, {"max_depth": 5}),
        (SlidingTiles(), {}, {"rows": 2}),
    ],
)
def test_fields_that_choose_test_problems_may_change(env, free, trained):
    old = Experiment(env=env)
    assert changed_training(old, dataclasses.replace(old, env=dataclasses.replace(env, **free))) == {}
    other = dataclasses.replace(old, env=dataclasses.replace(env, **free, **trained))
    assert set(changed_training(old, other)) == {f"env.{name}" for name in trained}
    assert set(changed_training(old, dataclasses.replace(old, env=SlidingTiles(rows=4)))) & {"env", "env.rows"}


def test_a_field_of_that_name_elsewhere_is_not_free():
    """Such as a field of the agent that is called as the domain's."""
    old = Experiment(env=EquationalProofs())
    assert set(changed_training(old, dataclasses.replace(old, seed=1, num_transitions=28))) == {
        "seed",
        "num_transitions",
    }


def test_failed_start_does_not_claim_the_folder(tmp_path):
    with pytest.raises(ValueError, match="num_transitions must be a positive multiple"):
        train(changed(num_transitions=71), tmp_path / "run", lambda text: None)
    assert content(tmp_path / "run") == {}


def test_run_without_checkpoint_gives_way(tmp_path, monkeypatch):
    """Nothing was learned yet, so a corrected experiment may take the folder."""
    (tmp_path / "config.json").write_text(json.dumps(to_json(changed(seed=9))))
    with pytest.raises(ValueError, match="has no checkpoint yet"):
        load_run(tmp_path, changed(seed=9))
    monkeypatch.setattr(runs, "fit", lambda *arguments: 0.0)
    train(EXPERIMENT, tmp_path, lambda text: None)
    assert read_config(tmp_path) == EXPERIMENT


def test_results_without_checkpoint_do_not_give_way(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(to_json(changed(seed=9))))
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match="--seed: 9 -> 0"):
        train(EXPERIMENT, tmp_path, lambda text: None)


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="expected a folder for the run"):
        train(EXPERIMENT, tmp_path / "file", lambda text: None)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:300], "is damaged, it is not JSON"),
        (lambda text: text.replace('"seed": 0', '"seed": "0"'), "seed of Experiment must be of type int"),
        (lambda text: text.replace("jepa.config.Experiment", "os.system"), "expected the name of a class"),
        (lambda text: "[]", "it holds a list, not an Experiment"),
    ],
)
def test_damaged_config_is_refused(copy, damage, message):
    path = copy / "config.json"
    path.write_text(damage(path.read_text()))
    before = content(copy)
    for use in (lambda: load_run(copy, EXPERIMENT), lambda: train(EXPERIMENT, copy, lambda text: None)):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert str(path) in str(caught.value)
    assert content(copy) == before


def test_missing_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*nothing/config\.json"):
        load_run(tmp_path / "nothing", EXPERIMENT)


def test_damaged_data_is_refused_before_anything_is_written(unbroken, tmp_path, monkeypatch):
    usual = dataset_path(runs.DATA_ROOT, EXPERIMENT.env, EXPERIMENT.behaviour, 70, 0)
    monkeypatch.setattr(runs, "DATA_ROOT", tmp_path / "data")
    shutil.copytree(usual, tmp_path / "data" / usual.name)
    shard = tmp_path / "data" / usual.name / "walks-00000.npz"
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"walks-00000\.npz: expected num_bytes"):
        train(EXPERIMENT, tmp_path / "run", lambda text: None)
    assert content(tmp_path / "run") == {}


def test_resuming_on_other_data_is_refused(copy, monkeypatch):
    """Such as data that were recorded anew, by another version of jax with other random numbers."""
    shutil.rmtree(copy / "checkpoints" / "00000012")
    load = runs.load_dataset

    def load_others(*arguments):
        walks = load(*arguments)
        return dataclasses.replace(walks, actions=walks.actions[::-1].copy())

    monkeypatch.setattr(runs, "load_dataset", load_others)
    with pytest.raises(ValueError, match="started on other recorded moves"):
        train(EXPERIMENT, copy, lambda text: None)


def test_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    def run_stage(self, state, params):
        yield dataclasses.replace(state, num_updates=state.num_updates + 2), {"loss": float("nan")}

    monkeypatch.setattr(Stage, "run", run_stage)
    with pytest.raises(ValueError, match="loss of stage world_model became nan within the updates before 2"):
        train(EXPERIMENT, tmp_path, lambda text: None)
    assert not list((tmp_path / "checkpoints").glob("0*"))


# ---- alarms


def write_rows(folder: Path, *rows: dict) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_alarms_are_those_of_the_last_row_of_each_stage(tmp_path):
    assert read_alarms(tmp_path) == {}
    write_rows(
        tmp_path,
        {"stage": "world_model", "num_updates": 1, "alarm_collapse": 1.0, "alarm_other": 0.0},
        {"stage": "world_model", "num_updates": 2, "alarm_collapse": 0.0, "alarm_other": 1.0},
        {"stage": "cost", "num_updates": 1, "alarm_drift": 0.0},
        {"stage": "cost", "num_updates": 2, "alarm_drift": 1.0, "alarm_other": 0.0},
    )
    assert read_alarms(tmp_path) == {"alarm_collapse": False, "alarm_drift": True, "alarm_other": True}


def test_standing_alarms_are_said_at_the_end(copy):
    row = {"stage": "cost", "num_updates": 6, "alarm_drift": 1.0, "alarm_collapse": 0.0, "alarm_new": 1.0}
    write_rows(copy, row)
    said = []
    train(EXPERIMENT, copy, said.append)
    assert [text.split(": ")[:2] for text in said[1:]] == [["WARNING", "alarm_drift"], ["WARNING", "alarm_new"]]


def test_every_alarm_of_training_is_explained(unbroken):
    assert set(read_alarms(unbroken)) == set(ALARMS)
