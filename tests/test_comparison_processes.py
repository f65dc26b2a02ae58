"""What cells in miniature run in: copies of a process that has imported everything, compiling quickly, and together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepa.comparison.jobs import LocalJob, new_process
from jepa.comparison.preloaded import MODULES, PreloadedProcess, can_preload
from jepa.comparison.quick import QUICK_FLAG, _has_flag, quick_compilation, shared_compilation

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, os, sys, time
import beside
print("printed"); print("an error", file=sys.stderr)
about = dict(arguments=sys.argv[1:], some=os.environ.get("SOME"), leads=os.getpgid(0) == os.getpid(), name=__name__)
about |= dict(preloaded="jepa.runs" in sys.modules, stdin=sys.stdin.read(), terminal=sys.stdout.isatty(), b=beside.B)
if "jax" in sys.modules:
    import jax
    about["compiled"] = jax.config.jax_compilation_cache_dir
open(sys.argv[1], "w").write(json.dumps(about))
while "hang" in sys.argv:
    time.sleep(0.01)
sys.exit(3)
"""
LAUNCHES = [new_process, pytest.param(PreloadedProcess, marks=pytest.mark.skipif(not can_preload(), reason="no fork"))]


@pytest.fixture
def program(tmp_path):
    (tmp_path / "beside.py").write_text("B = 7")
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path / "program.py"


@pytest.mark.parametrize("launch", LAUNCHES)
def test_both_kinds_of_process_are_the_same_to_a_program(program, tmp_path, launch):
    log, told = tmp_path / "log.txt", tmp_path / "told.json"
    log.write_text("before\n")
    environment = {"SOME": "value", "JAX_COMPILATION_CACHE_DIR": "compiled here", "PATH": os.environ["PATH"]}
    job = LocalJob([[sys.executable, str(program), str(told), "b"]], log, environment, launch)
    while (status := job.poll()) is None:
        time.sleep(0.01)
    assert status == 3
    begin, command, *printed = log.read_text().splitlines()
    assert (begin, command) == ("before", f"$ {sys.executable} {program} {told} b")
    assert sorted(printed) == ["an error", "printed"]
    about = json.loads(told.read_text())
    assert about.pop("preloaded") == (launch is PreloadedProcess)
    assert about.pop("compiled", "compiled here") == "compiled here"
    same = dict(arguments=[str(told), "b"], some="value", leads=True, name="__main__", stdin="", terminal=False, b=7)
    assert about == same


@pytest.mark.parametrize("launch", LAUNCHES)
def test_both_kinds_of_process_can_be_ended(program, tmp_path, launch):
    log, told = tmp_path / "log.txt", tmp_path / "told.json"
    job = LocalJob([[sys.executable, str(program), str(told), "hang"]], log, os.environ, launch)
    while not told.exists():
        assert job.poll() is None
        time.sleep(0.01)
    job.ask_to_end()
    job.end()
    assert job.poll() == -signal.SIGTERM


def test_what_is_preloaded_is_all_of_jepa_that_the_programs_import():
    program = f"""
import importlib, sys
for name in {MODULES!r}:
    importlib.import_module(name)
before = set(sys.modules)
import train, eval
print(sorted(name for name in set(sys.modules) - before if name.startswith("jepa")))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and ran.stdout.strip() == "[]", ran.stdout + ran.stderr


@pytest.mark.skipif(not can_preload(), reason="no fork")
def test_waiting_for_a_copy_has_an_end(program, tmp_path):
    (tmp_path / "log.txt").touch()
    command = [sys.executable, str(program), str(tmp_path / "told.json"), "hang"]
    process = PreloadedProcess(command, tmp_path / "log.txt", os.environ)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
    process.wait(10.0)
    assert process.poll() == -signal.SIGKILL


def test_they_share_what_they_compile_unless_the_user_has_a_place_for_it(tmp_path):
    assert shared_compilation(tmp_path, {})["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
    assert shared_compilation(tmp_path, {"JAX_COMPILATION_CACHE_DIR": "mine"}) == {}


def test_xla_gets_the_flag_if_it_knows_it_and_the_user_has_not_set_it(monkeypatch):
    monkeypatch.setattr("jepa.comparison.quick._has_flag", lambda name: name == "xla_cpu_use_fusion_emitters")
    environment = quick_compilation({"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"})
    assert environment == {"XLA_FLAGS": f"--xla_cpu_multi_thread_eigen=false {QUICK_FLAG}"}
    assert quick_compilation({"XLA_FLAGS": QUICK_FLAG.replace("false", "true")}) == {}
    monkeypatch.setattr("jepa.comparison.quick._has_flag", lambda name: False)
    assert quick_compilation({}) == {}


def test_flags_are_looked_up_in_the_xla_that_is_installed():
    assert _has_flag("xla_cpu_multi_thread_eigen")
    assert not _has_flag("xla_cpu_multi_thread")  # Whole names count.
    assert not _has_flag("xla_cpu_no_such_flag")


def test_xla_starts_with_what_it_gets():
    program = "import jax; print(jax.numpy.ones(3).sum())"
    environment = os.environ | quick_compilation({"XLA_FLAGS": ""})
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and ran.stdout.strip() == "3.0", ran.stderr
