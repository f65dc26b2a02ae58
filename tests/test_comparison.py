"""Running comparisons: with fake programs, so that it is about who is called, how often, and what is left behind."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import pytest

import eval as eval_program
from jepa.cli import parse_eval, parse_train
from jepa.comparison import jobs, runner
from jepa.comparison.cells import Comparison, plan_cells
from jepa.comparison.command import compare, run_comparison
from jepa.comparison.folders import new_entry, read_entry, write_entry
from jepa.comparison.jobs import LocalJob, thread_limits
from jepa.comparison.progress import progress
from jepa.comparison.runner import run_cells
from jepa.config import to_json
from tests.comparison_cells import Workplace

FOUR = ["cube/28/seed0", "tiles/42/seed0", "cube/28/seed1", "tiles/42/seed1"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Looks often, and reports without what takes time: tests/test_comparison_report.py has that."""
    monkeypatch.setattr("jepa.comparison.report.write_figures", lambda tables, folder: [])
    for name in ("two_way_bootstrap_interval", "stratified_bootstrap_interval", "probability_of_improvement_interval"):
        monkeypatch.setattr(f"jepa.comparison.tables.{name}", lambda *scores: (0.0, 1.0))
    monkeypatch.setattr(runner, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN_LOOKS", 0.01)


@pytest.fixture
def place(tmp_path) -> Workplace:
    return Workplace(tmp_path)


def run(place: Workplace, *names: str, **settings) -> int:
    comparison = place.comparison(*names, **settings)
    return run_comparison(comparison, plan_cells(comparison), place.programs)


def both(*names: str) -> list[str]:
    """The calls of cells that run one after the other."""
    return [f"{program} {name}" for name in names for program in ("train", "eval")]


# ---- which cells there are, and what they run


def test_cells_are_all_combinations_whole_seeds_first(place):
    cells = plan_cells(place.comparison(transitions=(100, 28)))
    assert [cell.name for cell in cells] == [
        f"{config}/{budget}/seed{seed}" for seed in (0, 1) for config in ("cube", "tiles") for budget in (100, 28)
    ]
    assert [cell.name for cell in plan_cells(place.comparison())] == FOUR  # Each config's own budget.


def test_budgets_are_rounded_down_to_whole_walks(place):
    (cell,) = plan_cells(place.comparison("cube", transitions=(100,), seeds=(0,)))
    assert cell.experiment.behaviour.walk_length == 14
    assert (cell.num_transitions, cell.experiment.num_transitions) == (100, 98)
    assert cell.commands[0][cell.commands[0].index("--num-transitions") + 1] == "98"


@pytest.mark.parametrize("debug", [False, True])
def test_commands_say_what_the_cell_expects(place, tmp_path, debug):
    """The two real command lines read them as the very experiment that summary.json is checked against."""
    settings = {"seeds": (5,), "transitions": (84,), "num_problems": 7, "debug": debug}
    (cell,) = plan_cells(place.comparison("cube", **settings))
    (train, *train_words), (grade, *grade_words) = cell.commands
    command = parse_train(train_words)
    assert (train, grade, command.run_dir) == ("train.py", "eval.py", cell.folder)
    cell.folder.mkdir(parents=True)
    (cell.folder / "config.json").write_text(json.dumps(to_json(command.experiment)))
    graded, folder = parse_eval(grade_words)
    assert folder == graded.output_dir == cell.folder
    assert to_json(graded.experiment) == to_json(cell.experiment)
    assert graded.experiment.evaluation.num_problems == (4 if debug else 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (0, 1, 0)}, r"--seeds must be different .*\[0, 1, 0\]"),
        ({"seeds": ()}, "at least one seed"),
        ({"search_scales": (0.5, 0.0)}, r"--search-scales must be different numbers above 0, came \[0.5, 0.0\]"),
        ({"num_samples": -1}, "--num-samples must be at least 0"),
        ({"seeds": (-1,)}, "at least 0"),
        ({"transitions": (0,)}, "--transitions must be different numbers of at least 1"),
        ({"transitions": (13,)}, "at least 14, one walk of .*cube.py, came 13"),
        ({"jobs": 0}, "--jobs must be at least 1"),
        ({"num_problems": 0}, "--num-problems must be at least 1"),
        ({"configs": ()}, "expected config files to compare"),
        ({"configs": (Path("no/such.py"),)}, "no/such.py does not exist"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(place, settings, message):
    with pytest.raises(ValueError, match=message):
        plan_cells(place.comparison(**settings))


def test_configs_of_one_name_are_refused(place, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "cube.py"
    twin.write_text((tmp_path / "cube.py").read_text())
    with pytest.raises(ValueError, match="different names, came several called cube"):
        plan_cells(place.comparison(configs=(tmp_path / "cube.py", twin)))


def test_debug_has_a_folder_of_its_own():
    assert Comparison(configs=()).output == Path("runs/comparison")
    assert Comparison(configs=(), debug=True).output == Path("runs/comparison-debug")


# ---- running and continuing


def test_every_cell_is_trained_and_graded_once_and_then_never_again(place, capsys):
    assert run(place) == 0
    assert place.calls() == both(*FOUR)
    entry = place.cell("cube/28/seed1")
    assert (entry["status"], entry["error"], entry["method"], entry["domain"]) == (
        "finished", "", "LatentPlanner", "pocket_cube",
    )  # fmt: skip
    assert entry["seconds"] > 0
    assert "training cube/28/seed1" in (place.output / "cube/28/seed1/log.txt").read_text()
    assert run(place) == 0
    assert place.calls() == []
    assert "4 cells: 4 finished, 0 to run" in capsys.readouterr().err


def test_more_seeds_run_only_the_new_ones(place):
    run(place, seeds=(0,))
    place.calls()
    assert run(place, seeds=(0, 1)) == 0
    assert place.calls() == both("cube/28/seed1", "tiles/42/seed1")


def test_a_failed_cell_is_kept_named_and_run_again_only_on_request(place, capsys):
    place.order({"cube/28/seed0": "fail"})
    assert run(place) == 1
    calls = place.calls()
    assert calls == ["train cube/28/seed0", *both(*FOUR[1:])]  # It is not graded, and stops nobody.
    entry = place.cell("cube/28/seed0")
    assert entry["status"] == "failed"
    assert entry["error"].splitlines()[0] == "exit status 1"
    assert entry["error"].splitlines()[-2:] == ["error: the loss became nan", "Try a lower learning rate"]
    assert "cube/28/seed0 is failed" in (err := capsys.readouterr().err) and "Try a lower learning rate" in err
    place.order({})
    assert run(place) == 1
    assert place.calls() == []
    assert "cube/28/seed0 is failed and left alone; --retry-failed" in capsys.readouterr().err
    assert run(place, retry_failed=True) == 0
    assert place.calls() == both("cube/28/seed0")


def test_error_is_of_the_last_attempt(place):
    place.order({"cube/28/seed0": "fail"})
    run(place, "cube", seeds=(0,))
    place.order({"cube/28/seed0": "exit 3"})
    assert run(place, "cube", seeds=(0,), retry_failed=True) == 1
    first, command, printed = place.cell("cube/28/seed0")["error"].splitlines()
    assert (first, command[:2], printed) == ("exit status 3", "$ ", "training cube/28/seed0")
    place.order({"cube/28/seed0": "no summary"})
    assert run(place, "cube", seeds=(0,), retry_failed=True) == 1
    entry = place.cell("cube/28/seed0")
    assert entry["error"] == "all commands ended well, but summary.json cannot be read: No such file or directory"
    log = (place.output / "cube/28/seed0/log.txt").read_text()
    assert log.count("$ ") == 4 and "the loss became nan" in log  # The log keeps all of them.


def test_results_of_another_run_are_no_success(place):
    place.order({"cube/28/seed0": "other seed"})
    assert run(place, "cube", seeds=(0,)) == 1
    assert "must have seed 0, came 1" in place.cell("cube/28/seed0")["error"]


def spoil_summary(folder: Path) -> None:
    (folder / "summary.json").write_text('{"solved_fraction": 0.')


def lose_summary(folder: Path) -> None:
    (folder / "summary.json").unlink()


def swap_seed(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"seed": 9}))


def lose_a_record(folder: Path) -> None:
    lines = (folder / "records.jsonl").read_text().splitlines()
    (folder / "records.jsonl").write_text("\n".join(lines[:-1]) + "\n")


def spoil_a_record(folder: Path) -> None:
    text = (folder / "records.jsonl").read_text()
    (folder / "records.jsonl").write_text(text.replace('"solved"', '"sovled"'))


def regrade_a_record(folder: Path) -> None:
    text = (folder / "records.jsonl").read_text()
    (folder / "records.jsonl").write_text(text.replace('"solved": true', '"solved": false', 1))


def swap_planner(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["config"]["agent"]["planner"]["width"] += 1
    (folder / "summary.json").write_text(json.dumps(summary))


def spoil_cell(folder: Path) -> None:
    (folder / "cell.json").write_text("[]")


def lose_a_field(folder: Path) -> None:
    content = json.loads((folder / "cell.json").read_text())
    del content["jobs"]
    (folder / "cell.json").write_text(json.dumps(content))


def lose_cell(folder: Path) -> None:
    (folder / "cell.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_summary, "summary.json is damaged, it is not JSON"),
        (lose_summary, "summary.json cannot be read: No such file"),
        (swap_seed, "summary.json must have seed 0, came 9"),
        (lose_a_record, "not of the same grading"),
        (regrade_a_record, "not of the same grading"),
        (swap_planner, "summary.json is of another experiment than cell.json"),
        (spoil_a_record, "KeyError"),
        (spoil_cell, "cell.json is damaged, it holds a list"),
        (lose_a_field, "cell.json is damaged or of another version; see jobs"),
        (lose_cell, "there are results but no cell.json"),
    ],
)
def test_damage_is_named_and_repaired_only_on_request(place, capsys, spoil, reason):
    assert run(place, seeds=(0,)) == 0
    place.calls()
    spoil(place.output / "cube/28/seed0")
    assert run(place, seeds=(0,)) == 1
    assert place.calls() == []
    err = capsys.readouterr().err
    assert "cube/28/seed0 is damaged and left alone; --retry-failed runs it again" in err and reason in err
    assert run(place, seeds=(0,), retry_failed=True) == 0
    assert place.calls() == both("cube/28/seed0")
    assert run(place, seeds=(0,)) == 0 and place.calls() == []


def test_another_config_than_before_is_named_and_leaves_the_old_run_in_place(place, capsys):
    assert run(place, "cube", seeds=(0,)) == 0
    config = place.folder / "cube.py"
    config.write_text(config.read_text() + "# A comment changes nothing.\n")
    place.calls()
    assert run(place, "cube", seeds=(0,)) == 0 and place.calls() == []
    text = "import dataclasses\nconfig = dataclasses.replace(config, agent=dataclasses.replace(config.agent, "
    text += "world_model_training=dataclasses.replace(config.agent.world_model_training, learning_rate=0.5)))\n"
    config.write_text(config.read_text() + text)
    capsys.readouterr()
    assert run(place, "cube", seeds=(0,)) == 1
    assert place.calls() == []
    err = capsys.readouterr().err
    assert "cube/28/seed0 is changed and left alone" in err and "learning_rate" in err and "-> 0.5" in err
    assert run(place, "cube", seeds=(0,), retry_failed=True) == 0
    assert place.calls() == both("cube/28/seed0")
    folders = sorted(path.name for path in (place.output / "cube/28").iterdir())
    assert folders == ["old1-seed0", "seed0"]  # train.py would refuse to train something else into it.


def test_other_test_problems_are_graded_anew_without_training_anew(place):
    assert run(place, "cube", seeds=(0,), num_problems=4) == 0
    assert run(place, "cube", seeds=(0,), num_problems=5) == 1
    place.calls()
    run(place, "cube", seeds=(0,), num_problems=5, retry_failed=True)
    assert place.calls() == both("cube/28/seed0")  # train.py finds its run complete.
    assert [path.name for path in (place.output / "cube/28").iterdir()] == ["seed0"]


# ---- configs that differ in the planner alone


OTHER_PLANNER = """
import dataclasses

from cube import config

planner = dataclasses.replace(config.agent.planner, width=7)
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, planner=planner))
"""


def trained_by(place: Workplace, name: str) -> str:
    return (place.output / name / "checkpoints" / "trained_by").read_text()


@pytest.fixture
def narrow(place) -> Workplace:
    (place.folder / "narrow.py").write_text(OTHER_PLANNER)
    return place


def test_cells_that_train_alike_train_once_and_wait_for_it(narrow, capsys):
    assert run(narrow, "cube", "narrow", "tiles", seeds=(0,), jobs=2) == 0
    assert trained_by(narrow, "narrow/28/seed0") == trained_by(narrow, "cube/28/seed0") == "cube/28/seed0"
    assert trained_by(narrow, "tiles/42/seed0") == "tiles/42/seed0"
    calls = narrow.calls()  # Tiles have nothing to wait for.
    assert (
        calls.index("train tiles/42/seed0") < calls.index("train narrow/28/seed0") > calls.index("eval cube/28/seed0")
    )
    text = "narrow/28/seed0 started with what cube/28/seed0 has trained, which differs in planning alone"
    assert text in capsys.readouterr().err and text in (narrow.output / "narrow/28/seed0/log.txt").read_text()
    assert narrow.cell("narrow/28/seed0")["experiment"]["agent"]["planner"]["width"] == 7


def test_other_seeds_and_budgets_train_for_themselves(narrow):
    assert run(narrow, "cube", seeds=(0,)) == 0
    assert run(narrow, "narrow", seeds=(1,)) == run(narrow, "narrow", seeds=(0,), transitions=(56,)) == 0
    assert trained_by(narrow, "narrow/28/seed1") == "narrow/28/seed1"
    assert run(narrow, "cube", "narrow", seeds=(0,), transitions=(28, 56)) == 0
    assert trained_by(narrow, "narrow/56/seed0") == "narrow/56/seed0"  # It was there first.
    assert trained_by(narrow, "cube/56/seed0") == "narrow/56/seed0"
    assert trained_by(narrow, "narrow/28/seed0") == "cube/28/seed0"  # It had finished at an earlier call.


def test_who_has_begun_or_finds_only_a_failed_training_trains_on(narrow):
    narrow.order({"cube/28/seed0": "fail"})
    assert run(narrow, "cube", "narrow", seeds=(0,)) == 1
    assert trained_by(narrow, "narrow/28/seed0") == "narrow/28/seed0"
    narrow.order({})
    assert run(narrow, "cube", "narrow", seeds=(0,), retry_failed=True) == 0
    assert trained_by(narrow, "cube/28/seed0") == "cube/28/seed0"  # What it had begun is there.


def test_a_copy_that_was_broken_off_is_made_anew(narrow):
    assert run(narrow, "cube", seeds=(0,)) == 0
    (cell,) = plan_cells(narrow.comparison("narrow", seeds=(0,)))
    (cell.folder / ".checkpoints.tmp").mkdir(parents=True)
    (cell.folder / ".checkpoints.tmp" / "half").write_text("")
    assert run(narrow, "cube", "narrow", seeds=(0,)) == 0
    assert [path.name for path in (cell.folder / "checkpoints").iterdir()] == ["trained_by"]
    assert not (cell.folder / ".checkpoints.tmp").exists()


OTHER_COST = """
import dataclasses

from cube import config

cost = dataclasses.replace(config.agent.cost, max_cost=9.0)
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, cost=cost))
"""
POLICY = """
import dataclasses

from cube import config

from jepa.agents.inverse_model import InverseModelPolicy

config = dataclasses.replace(config, agent=InverseModelPolicy(world_model_training=config.agent.world_model_training))
"""
NO_WORLD_MODEL = """
import dataclasses

from cube import config

from jepa.agents.random_plans import RandomPlans

config = dataclasses.replace(config, agent=RandomPlans())
"""


@pytest.fixture
def costly(place) -> Workplace:
    (place.folder / "costly.py").write_text(OTHER_COST)
    (place.folder / "policy.py").write_text(POLICY)
    (place.folder / "random.py").write_text(NO_WORLD_MODEL)
    return place


def world_model_from(place: Workplace, name: str) -> str | None:
    path = place.output / name / "world_model_from"
    return "/".join(Path(path.read_text()).parts[-3:]) if path.exists() else None


def test_cells_with_the_same_world_model_train_it_once_and_wait_for_it_if_others_need_not(costly, capsys):
    assert run(costly, "cube", "costly", "policy", "random", "tiles", seeds=(0,), jobs=2) == 0
    sources = {name: world_model_from(costly, f"{name}/28/seed0") for name in ("cube", "costly", "policy", "random")}
    assert sources == {"cube": None, "costly": "cube/28/seed0", "policy": "cube/28/seed0", "random": None}
    assert world_model_from(costly, "tiles/42/seed0") is None
    assert trained_by(costly, "costly/28/seed0") == "costly/28/seed0"  # What follows, it trains itself.
    text, said = "costly/28/seed0 started with the world model of cube/28/seed0", capsys.readouterr().err
    assert said.index("random/28/seed0 started") < said.index(text)
    assert text in (costly.output / "costly/28/seed0/log.txt").read_text()


def test_nobody_waits_for_a_world_model_while_a_place_is_free(costly):
    assert run(costly, "cube", "costly", seeds=(0,), jobs=2) == 0
    assert world_model_from(costly, "costly/28/seed0") is None


def test_other_seeds_and_cells_that_have_begun_take_no_world_model_over(costly):
    assert run(costly, "cube", seeds=(0,)) == 0
    assert run(costly, "costly", seeds=(1,)) == 0
    assert world_model_from(costly, "costly/28/seed1") is None
    costly.order({"policy/28/seed0": "fail"})
    assert run(costly, "policy", seeds=(0,)) == 1
    costly.order({})
    assert run(costly, "cube", "policy", seeds=(0,), retry_failed=True) == 0
    assert world_model_from(costly, "policy/28/seed0") is None


def test_a_cell_that_failed_with_the_world_model_of_another_trains_its_own_when_it_is_asked_for_again(costly):
    assert run(costly, "cube", seeds=(0,)) == 0
    costly.order({"policy/28/seed0": "take nothing"})
    assert run(costly, "cube", "policy", seeds=(0,)) == 1
    (costly.output / "policy/28/seed0/world_model_from").unlink()
    assert run(costly, "cube", "policy", seeds=(0,), retry_failed=True) == 0
    assert world_model_from(costly, "policy/28/seed0") is None


# ---- more and less search


def test_more_compute_is_graded_once_without_training_or_grading_anew(place):
    assert run(place, "cube", seeds=(0,)) == 0
    place.calls()
    wanted = {"seeds": (0,), "search_scales": (0.25, 1.0), "num_samples": 2}  # Its own size is graded anyway.
    assert run(place, "cube", **wanted) == 0
    assert place.calls() == ["curve cube/28/seed0"]
    assert run(place, "cube", **wanted) == run(place, "cube", seeds=(0,)) == 0
    assert place.calls() == []
    assert run(place, "cube", **(wanted | {"search_scales": (0.5, 0.25)})) == 0
    assert place.calls() == ["curve cube/28/seed0"]
    text = (place.output / "comparison.md").read_text()
    assert "| pocket_cube | LatentPlanner | 0.25 | 25.0" in text
    assert "| pocket_cube | LatentPlanner | 1 | 50.0 | 25.0 | 0.0 | 7 | 0.5 | 1 |" in text


def test_cells_that_have_not_run_do_all_three(place):
    assert run(place, "cube", seeds=(0,), search_scales=(2.0,)) == 0
    assert place.calls() == [*both("cube/28/seed0"), "curve cube/28/seed0"]


@pytest.mark.parametrize("spoil", ["[]", '{"search": 3, "samples": null, "config": %s}'])
def test_a_damaged_curve_is_named_and_drawn_anew_on_request(place, capsys, spoil):
    wanted = {"seeds": (0,), "search_scales": (0.5,)}
    run(place, "cube", **wanted)
    (cell,) = plan_cells(place.comparison("cube", **wanted))
    path = cell.folder / "curve.json"
    path.write_text(spoil.replace("%s", json.dumps(to_json(cell.experiment))))
    capsys.readouterr()
    place.calls()
    assert run(place, "cube", **wanted) == 1
    assert "cube/28/seed0 is damaged" in (err := capsys.readouterr().err) and "curve.json" in err
    assert run(place, "cube", retry_failed=True, **wanted) == 0
    assert place.calls()[-1] == "curve cube/28/seed0"


@pytest.mark.parametrize("status", ["running", "interrupted", "waiting"])
def test_what_was_broken_off_is_continued_without_being_asked(place, status):
    (cell,) = plan_cells(place.comparison("cube", seeds=(0,)))
    write_entry(cell.folder, dataclasses.replace(new_entry(cell), status=status, seconds=100.0))
    assert run(place, "cube", seeds=(0,)) == 0
    assert place.calls() == both("cube/28/seed0")
    seconds = read_entry(cell.folder).seconds
    assert 100 < seconds < 110 or status == "waiting"  # All attempts count.


def test_a_cell_that_has_not_started_takes_the_config_of_today(place):
    (cell,) = plan_cells(place.comparison("cube", seeds=(0,), num_problems=5))
    write_entry(cell.folder, new_entry(cell))
    assert run(place, "cube", seeds=(0,)) == 0
    assert place.cell("cube/28/seed0")["experiment"]["evaluation"]["num_problems"] == 1000


@pytest.mark.parametrize("num_jobs", [1, 3])
def test_so_many_run_at_the_same_time_and_no_more(place, num_jobs):
    names = [f"cube/28/seed{seed}" for seed in range(4)]
    place.order(dict.fromkeys(names, f"meet {num_jobs}"))  # The first ones wait until so many have started.
    assert run(place, "cube", seeds=tuple(range(4)), jobs=num_jobs) == 0
    times = [json.loads((place.output / name / "times.json").read_text()) for name in names]
    crowds = [sum(other[0] <= began < other[1] for other in times) for began, _ in times]
    assert max(crowds) == num_jobs
    assert {place.cell(name)["jobs"] for name in names} == {num_jobs}


# ---- interruption


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture
def heeded_signals():
    """Signals as a shell's foreground job has them: a background job ignores SIGINT."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_when_there(paths: list[Path], number: int) -> None:
    """Sends this process a signal as soon as all of these files exist."""

    def send() -> None:
        while not all(path.exists() for path in paths):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize(
    ("number", "code", "order"),
    [(signal.SIGINT, 130, "hang"), (signal.SIGTERM, 143, "hang"), (signal.SIGTERM, 143, "ignore")],
)
def test_interruption_ends_all_processes_and_can_be_continued(
    place, capsys, monkeypatch, heeded_signals, number, code, order
):
    monkeypatch.setattr(jobs, "SECONDS_TO_END", 0.5)
    place.order({"tiles/42/seed0": order, "cube/28/seed1": order})
    pids = [place.output / name / "pids.json" for name in ("tiles/42/seed0", "cube/28/seed1")]
    signal_when_there(pids, number)
    handler, began = signal.getsignal(number), time.monotonic()
    assert run(place, jobs=2) == code
    assert time.monotonic() - began < 30.0  # By itself each of them would take a minute.
    assert signal.getsignal(number) is handler
    assert "interrupted; the same command continues" in capsys.readouterr().err
    children = [pid for path in pids for pid in json.loads(path.read_text())]
    deadline = time.monotonic() + 5.0
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(children) == 4 and not any(map(is_alive, children))
    statuses = [place.cell(name)["status"] for name in FOUR]
    assert statuses == ["finished", "interrupted", "interrupted", "waiting"]
    assert not (place.output / "comparison.md").exists()
    place.calls()
    place.order({})
    assert run(place) == 0
    assert place.calls() == both(*FOUR[1:])


def test_what_nohup_ignores_interrupts_nothing(place):
    place.order({"cube/28/seed0": "meet 1"})
    signal_when_there([place.programs / "met-seed0"], signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(place, "cube", seeds=(0,)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert place.calls() == both("cube/28/seed0")


def test_error_in_the_loop_leaves_no_process_behind(place):
    place.order({"cube/28/seed0": "hang"})
    (cell,) = plan_cells(place.comparison("cube", seeds=(0,)))
    started = []

    def start(cell) -> LocalJob:
        started.append(LocalJob(jobs.python_commands(cell, place.programs), cell.folder / "log.txt", os.environ))
        return started[0]

    def show(event: str, num_ended: int, outlook: str) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        run_cells([cell], [], start, 1, show)
    assert started[0].poll() is not None
    assert read_entry(cell.folder).status == "interrupted"


def test_a_cell_ended_from_outside_is_interrupted_not_failed(place):
    place.order({"cube/28/seed0": "hang"})
    pids = place.output / "cube/28/seed0/pids.json"

    def end_it() -> None:
        while not pids.exists():
            time.sleep(0.01)
        for pid in json.loads(pids.read_text()):
            os.kill(pid, signal.SIGTERM)

    threading.Thread(target=end_it, daemon=True).start()
    assert run(place, "cube", seeds=(0,)) == 1
    assert place.cell("cube/28/seed0")["status"] == "interrupted"
    place.order({})
    assert run(place, "cube", seeds=(0,)) == 0


def test_two_comparisons_do_not_share_a_folder(place):
    from jepa.run_folder import run_lock

    words = [str(place.folder / "cube.py"), "--output-dir", str(place.output)]
    with run_lock(place.output), pytest.raises(ValueError, match="is in use by process"):
        compare(words)


# ---- what cells may use


def test_threads_are_limited_only_where_jobs_crowd_the_cores():
    limit = "--xla_cpu_multi_thread_eigen=false"
    assert thread_limits(1, 8, {}) == {}
    assert thread_limits(1, 1, {}) == {"XLA_FLAGS": limit}
    shared = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.300"}
    assert thread_limits(3, 8, {}) == shared
    assert thread_limits(2, 2, {})["XLA_FLAGS"] == limit
    assert thread_limits(2, 2, {"XLA_FLAGS": "--xla_a=1"})["XLA_FLAGS"] == f"--xla_a=1 {limit}"


def test_what_the_user_has_set_is_kept():
    user = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true", "OMP_NUM_THREADS": "7"}
    assert thread_limits(4, 2, user) == {"OPENBLAS_NUM_THREADS": "1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225"}


def test_children_get_limits_and_the_environment_of_the_user(place, monkeypatch):
    monkeypatch.setattr("jepa.comparison.command.num_usable_cores", lambda: 2)
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    monkeypatch.setenv("SOME_VARIABLE", "some value")
    assert run(place, "cube", seeds=(0,), jobs=2) == 0
    environment = json.loads((place.output / "cube/28/seed0/environment.json").read_text())
    assert environment["XLA_FLAGS"] == "--xla_a=1 --xla_cpu_multi_thread_eigen=false"
    assert environment["SOME_VARIABLE"] == "some value"


# ---- progress


class FakeJob(jobs.Job):
    """A job that ends at its second look and leaves results."""

    def __init__(self, cell, clock):
        self.cell, self.clock, self.looks = cell, clock, 0

    def poll(self):
        self.looks += 1
        if self.looks < 2:
            return None
        self.clock[0] += 60.0
        experiment = to_json(self.cell.experiment)
        record = {"start": [0], "goal": [1], "actions": [], "solved": False, "optimal_length": None}
        summary = {"num_problems": 1, "solved_fraction": 0.0, "config": experiment}
        summary |= {name: experiment[name] for name in ("seed", "num_transitions")}
        (self.cell.folder / "records.jsonl").write_text(json.dumps(record) + "\n")
        (self.cell.folder / "summary.json").write_text(json.dumps(summary))
        return 0

    def ask_to_end(self):
        raise AssertionError("nothing is left to end")

    end = ask_to_end


def test_time_left_follows_from_the_finished_cells_most_like_the_rest(place, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(runner, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda seconds: None))
    cells = plan_cells(place.comparison(seeds=(0, 1)))
    seen = []
    start = lambda cell: FakeJob(cell, clock)  # noqa: E731
    (earlier,) = plan_cells(place.comparison("tiles", seeds=(7,)))
    write_entry(earlier.folder, dataclasses.replace(new_entry(earlier), status="finished", seconds=600.0))
    assert run_cells(cells, [earlier], start, 1, lambda *event: seen.append(event)) is None
    events = [event for event in seen if event[0]]
    assert events == [
        ("cube/28/seed0 started", 0, "0:40:00 left, running cube/28/seed0"),
        # A minute for each cube from now on, ten for the tiles.
        ("cube/28/seed0 finished after 0:01:00", 1, "0:21:00 left, running nothing"),
        ("tiles/42/seed0 started", 1, "0:21:00 left, running tiles/42/seed0"),
        ("tiles/42/seed0 finished after 0:01:00", 2, "0:06:30 left, running nothing"),
        ("cube/28/seed1 started", 2, "0:06:30 left, running cube/28/seed1"),
        ("cube/28/seed1 finished after 0:01:00", 3, "0:05:30 left, running nothing"),
        ("tiles/42/seed1 started", 3, "0:05:30 left, running tiles/42/seed1"),
        ("tiles/42/seed1 finished after 0:01:00", 4, "0:00:00 left, running nothing"),
    ]


def test_progress_in_a_file_is_a_line_for_each_event(capsys):
    with progress(3) as show:
        show("a started", 0, "? left, running a")
        show("", 0, "? left, running a")
        show("a finished after 0:00:05", 1, "0:00:10 left, running nothing")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "a started (0 of 3 cells, ? left, running a)",
        "a finished after 0:00:05 (1 of 3 cells, 0:00:10 left, running nothing)",
    ]


def test_progress_in_a_terminal_is_a_bar_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with progress(3) as show:
        show("a finished after [b]", 1, "0:00:10 left")
    out, err = capsys.readouterr()
    assert out == "" and "a finished after [b]" in err and "1/3" in err and "0:00:10 left" in err


# ---- Slurm


class FakeSubmitit(types.ModuleType):
    """Runs what is submitted at once, or loses it."""

    def __init__(self, is_lost: bool = False):
        super().__init__("submitit")
        self.parameters, self.folders, self.cancelled = {}, [], []

        class Job:
            def __init__(self, function, *arguments):
                self.value = None if is_lost else function(*arguments)

            def done(self):
                return True

            def exception(self):
                return RuntimeError("job 7 has timed out") if is_lost else None

            def result(self):
                return self.value

        fake = self

        class AutoExecutor:
            def __init__(self, folder, cluster):
                assert cluster == "slurm"
                fake.folders.append(folder)

            def update_parameters(self, **parameters):
                fake.parameters |= parameters

            def submit(self, function, *arguments):
                return Job(function, *arguments)

        self.AutoExecutor = AutoExecutor


def test_slurm_gets_the_cells_with_the_limits_of_a_job(place, monkeypatch):
    fake = FakeSubmitit()
    monkeypatch.setitem(sys.modules, "submitit", fake)
    settings = {"slurm_partition": "gpu", "slurm_minutes": 90, "slurm_gpus": 1, "jobs": 2}
    place.order({"tiles/42/seed0": "fail"})
    assert run(place, seeds=(0,), **settings) == 1
    assert place.calls() == [*both("cube/28/seed0"), "train tiles/42/seed0"]
    assert fake.parameters == {
        "slurm_partition": "gpu", "timeout_min": 90, "gpus_per_node": 1, "name": "tiles-42-seed0",
    }  # fmt: skip
    assert fake.folders == [place.output / "slurm"]
    assert [place.cell(name)["status"] for name in FOUR[:2]] == ["finished", "failed"]
    assert place.cell("cube/28/seed0")["jobs"] == 1  # Its node is its own.


def test_a_slurm_job_at_its_time_limit_is_continued_by_the_same_command(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", FakeSubmitit(is_lost=True))
    assert run(place, "cube", seeds=(0,), slurm_partition="cpu") == 1
    entry = place.cell("cube/28/seed0")
    assert (entry["status"], entry["error"]) == ("interrupted", "job 7 has timed out")
    monkeypatch.setitem(sys.modules, "submitit", FakeSubmitit())
    assert run(place, "cube", seeds=(0,), slurm_partition="cpu") == 0
    assert place.calls() == both("cube/28/seed0")


def test_interruption_cancels_slurm_jobs():
    from jepa.comparison.slurm import SlurmJob

    cancelled = []
    job = SlurmJob(types.SimpleNamespace(cancel=lambda check: cancelled.append(check)), Path("log.txt"))
    job.ask_to_end()
    job.end()
    assert cancelled == [False]


def test_slurm_without_its_package_or_its_programs_says_what_is_missing(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r'needs the package submitit .*pip install -e "\.\[slurm\]"'):
        run(place, slurm_partition="gpu")

    def no_srun(folder, cluster):
        raise RuntimeError('Could not detect "srun"')

    monkeypatch.setitem(sys.modules, "submitit", types.SimpleNamespace(AutoExecutor=no_srun))
    with pytest.raises(ValueError, match='needs Slurm on this machine: Could not detect "srun"'):
        run(place, slurm_partition="gpu")
    assert not place.output.exists() and place.calls() == []


# ---- the command line


def call(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["eval.py", *words])
    with pytest.raises(SystemExit) as caught:
        eval_program.main()
    return caught.value.code


def test_command_line_runs_a_comparison_and_reports_it(place, monkeypatch, capsys):
    monkeypatch.setattr("jepa.comparison.command.PROGRAMS", place.programs)
    words = [str(place.folder / "cube.py"), str(place.folder / "tiles.py"), "--seeds", "3", "--jobs", "2"]
    words += ["--transitions", "28", "84", "--num-problems", "9", "--output-dir", str(place.output)]
    assert call(monkeypatch, "compare", *words) == 0
    out = capsys.readouterr().out
    assert "75.0" in out and "comparison.md" in out
    assert sorted(place.calls()) == sorted(
        both(*(f"{config}/{budget}/seed3" for config in ("cube", "tiles") for budget in (28, 84)))
    )
    for path in place.output.glob("comparison.*"):
        path.unlink()
    assert call(monkeypatch, "report", str(place.output)) == 0
    assert sorted(path.name for path in place.output.glob("comparison.*")) == [
        "comparison.csv", "comparison.md", "comparison.tex",
    ]  # fmt: skip
    assert place.calls() == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compare", "no/such.py"], "no/such.py does not exist"),
        (["compare"], "expected config files to compare"),
        (["compare", "a.py", "--seeds", "one"], "--seeds"),
        (["compare", "a.py", "--seds", "1"], "--seeds"),
        (["report", "no/such"], "no cell is in no/such"),
        (["report"], "came none"),
    ],
)
def test_mistakes_end_with_a_message_and_exit_code_1(monkeypatch, capsys, words, expected):
    assert call(monkeypatch, *words) == 1
    out, err = capsys.readouterr()
    assert expected in err and "Traceback" not in err and out == ""
