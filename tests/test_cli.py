"""Flags, help, and what people see when something is wrong."""

import contextlib
import dataclasses
import json
import os
import signal
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from jepa import config as config_module
from jepa.cli import EvalCommand, parse_eval, parse_train, user_errors
from jepa.config import Experiment, debug, differences, load_config, to_json
from jepa.envs.pocket_cube import PocketCube
from jepa.stopping import Stopped
from tests.discovery import skip_without_extra
from tests.test_config import CONFIGS, leaves

EXPERIMENT = Experiment(env=PocketCube())
EACH_CONFIG = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture
def run_dir(tmp_path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(to_json(EXPERIMENT)))
    return tmp_path


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


# ---- flags


@EACH_CONFIG
def test_every_number_of_an_experiment_is_a_flag(path):
    with skip_without_extra():
        experiment = load_config(path)
    values = {"num_updates": 600, "updates_per_call": 60, "box_rows": 3, "box_columns": 2, "origin_fraction": 0.25}
    wanted = {
        name: values.get(name.split(".")[-1], old + 1)
        for name, old in leaves(experiment).items()
        if isinstance(old, int | float) and not isinstance(old, bool)
    }
    words = [word for name, value in wanted.items() for word in (flag(name), str(value))]
    changed = parse_train([str(path), *words]).experiment
    assert leaves(changed) == leaves(experiment) | wanted


def test_flags_change_what_they_name(tmp_path):
    path = str(CONFIGS[0])
    plain = parse_train([path])
    assert plain.run_dir == Path("runs") / CONFIGS[0].stem / "seed0"
    command = parse_train([path, "--seed", "7", "--planner.width", "3", "--problems", "some.npz"])
    changed = command.experiment
    assert differences(plain.experiment, changed).keys() == {"seed", "planner.width", "problems"}
    assert changed.evaluation.problems == Path("some.npz")
    assert command.run_dir == Path("runs") / CONFIGS[0].stem / "seed7"
    assert parse_train([path, "--run-dir", str(tmp_path)]).run_dir == tmp_path
    assert plain.seconds_between_checkpoints == 30.0
    assert parse_train([path, "--seconds-between-checkpoints", "0"]).seconds_between_checkpoints == 0.0


def test_debug_has_a_folder_of_its_own():
    command = parse_train([str(CONFIGS[0]), "--debug"])
    assert command.experiment == debug(load_config(CONFIGS[0]))
    assert command.run_dir == Path("runs") / f"{CONFIGS[0].stem}-debug" / "seed0"


def test_evaluation_starts_from_the_run(run_dir, tmp_path):
    assert parse_eval([str(run_dir)]) == (EvalCommand(experiment=EXPERIMENT, output_dir=run_dir), run_dir)
    words = ["--num-problems", "20", "--planner.width", "64", "--output-dir", str(tmp_path / "out")]
    command, folder = parse_eval([str(run_dir), *words])
    assert differences(EXPERIMENT, command.experiment) == {
        "num_problems": "1000 -> 20",
        "planner.width": "256 -> 64",
    }
    assert (folder, command.output_dir) == (run_dir, tmp_path / "out")


def test_debug_of_an_evaluation_leaves_training_as_it_is(run_dir):
    command, _ = parse_eval([str(run_dir), "--debug", "--planner.horizon", "5"])
    assert differences(EXPERIMENT, command.experiment).keys() == {
        "num_problems",
        "planner.width",
        "planner.horizon",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--planer.width", "3"], "Perhaps you meant"),
        (["--planner.widht", "3"], "--planner.width"),
        (["--seed", "one"], "invalid literal"),
        (["--planner.width", "2.5"], "invalid literal"),
        (["--world-model-training.learning-rate", "fast"], "could not convert"),
        (["--planner.width"], "Missing value"),
        (["--seconds-between-checkpoints", "-1"], "must be a time"),
        (["--watchdog-seconds", "-1"], "must be a time"),
        (["--coordinator", "localhost:1234"], "host:port needs"),
        (["--num-processes", "2"], "need --coordinator"),
        (["stray"], "stray"),
        (["--world-model-training.num-updates", "77", "--world-model-training.updates-per-call", "50"], "multiple"),
    ],
)
def test_wrong_flag_is_refused_with_a_hint(capsys, words, expected):
    with pytest.raises(SystemExit) as caught:
        parse_train([str(CONFIGS[0]), *words])
    out, err = capsys.readouterr()
    assert caught.value.code == 1
    assert expected in err and out == ""


# ---- help


@pytest.mark.parametrize("parse", [parse_train, parse_eval])
@pytest.mark.parametrize(("words", "code"), [([], 1), (["--help"], 0), (["-h"], 0), (["--seed", "1"], 1)])
def test_without_a_path_the_usage_is_shown(capsys, monkeypatch, parse, words, code):
    monkeypatch.chdir(CONFIGS[0].parents[1])
    with pytest.raises(SystemExit) as caught:
        parse(words)
    out, err = capsys.readouterr()
    assert caught.value.code == code
    shown, other = (err, out) if code else (out, err)
    assert "usage: " in shown and "configs/pocket_cube.py" in shown and other == ""


@EACH_CONFIG
def test_help_tells_the_claim_and_every_field(capsys, monkeypatch, path):
    with skip_without_extra():
        load_config(path)
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        parse_train([str(path), "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert path.read_text().split("\n")[0].strip('"')[:60] in text
    lines = text[text.index("options") :].splitlines()
    assert max(map(len, lines)) <= 80
    lines = [line.strip("│ ") for line in lines]
    absent = {name for name, value in leaves(load_config(path)).items() if value is None and name.endswith("actor")}
    for name in leaves(load_config(path)).keys() - absent:  # A part that is not there has no flags.
        before, _, last = flag(name).rpartition(".")
        flags = (flag(name), f"{before}.no-{last}")  # What is on can only be turned off.
        (index,) = [index for index, line in enumerate(lines) if line.split(" ")[0] in flags]
        assert lines[index + 1] and not lines[index + 1].startswith("-"), f"{name} has no description"


# ---- errors


def ours(message: str) -> ValueError:
    """An error as a `raise ValueError` of the package gives it."""
    scope = {"__name__": "jepa.fake"}
    exec(f"def fail():\n    raise ValueError({message!r})", scope)
    try:
        scope["fail"]()
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ours("expected this, got that"), "error: expected this, got that\n"),
        (FileNotFoundError(2, "No such file or directory", "a/b"), "error: a/b: No such file or directory\n"),
        (PermissionError(13, "Permission denied", "a/b"), "error: a/b: Permission denied\n"),
        (OSError("the disk is on fire"), "error: the disk is on fire\n"),
    ],
)
def test_error_of_the_user_is_one_message_and_exit_code_1(capsys, monkeypatch, error, expected):
    monkeypatch.delenv("JEPA_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as caught, user_errors():
        raise error.with_traceback(error.__traceback__)
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert err.startswith(expected) and "Traceback" not in err and out == ""


@pytest.mark.parametrize("error", [AttributeError("x"), TypeError("x"), KeyError("x"), ValueError("not ours")])
def test_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)), user_errors():
        raise error


def test_jax_error_within_the_package_is_a_bug():
    from jepa.latents import normalize_slots

    with pytest.raises(TypeError, match="reshape"), user_errors():
        jax.jit(lambda x: normalize_slots(x, 3))(np.zeros((2, 4), np.float32))


def test_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("JEPA_TRACEBACK", "1")
    with pytest.raises(ValueError, match="expected this"), user_errors():
        raise ours("expected this")


def test_interruption_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert "interrupted; training continues" in capsys.readouterr().err


def test_an_interruption_that_python_drops_comes_again(capsys):
    class CleanedUp:
        def __del__(self):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Jobs in the background ignore it.
    try:
        with pytest.raises(SystemExit) as caught, user_errors():
            CleanedUp()
            started = time.monotonic()
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started < 8  # It wakes up who waits.
    assert caught.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_stopped_run_says_what_is_saved_and_exits_as_its_signal_asks(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        raise Stopped(signal.SIGTERM, 1200)
    assert caught.value.code == 143
    assert "SIGTERM: stopped after 1,200 updates, all saved; the same command continues" in capsys.readouterr().err


def test_warning_is_one_line_without_the_source(capsys):
    with user_errors():
        warnings.warn("checkpoint 4 is damaged", stacklevel=1)
    assert capsys.readouterr().err == "warning: checkpoint 4 is damaged\n"


def test_reader_who_has_seen_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe, contextlib.redirect_stdout(pipe):
        with pytest.raises(SystemExit) as caught, user_errors():
            print("a line", flush=True)
    assert caught.value.code == 1


def test_unknown_config_ends_with_a_message(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        parse_train(["configs/unknown.py"])
    assert caught.value.code == 1
    assert "configs/unknown.py does not exist" in capsys.readouterr().err


def test_bug_in_the_package_below_a_config_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(config_module, "to_json", lambda value: dataclasses.fields(3))
    (tmp_path / "good.py").write_text(
        "from jepa.config import Experiment\nfrom jepa.envs.pocket_cube import PocketCube\n"
        "config = Experiment(env=PocketCube())\n"
    )
    with pytest.raises(TypeError), user_errors():
        parse_train([str(tmp_path / "good.py")])
