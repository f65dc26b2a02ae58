"""Seeded damage to files of every kind: refused in a sentence or harmless, and nothing is executed. (F20)"""

import collections
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jepa.config import load_config
from jepa.evaluation import Evaluation, load_problems
from jepa.pretrained import save_pretrained
from jepa.run_config import read_config
from jepa.runs import load_run
from tests.faults.programs import ROOT, Workplace

pytestmark = [pytest.mark.faults, pytest.mark.slow]

MIN_TRIALS = 200


@pytest.fixture(scope="module")
def good(place: Workplace) -> Path:
    """A folder with a file of every kind: a run, its data, problems, a comparison and a trained agent."""
    folder = place.folder / "good"
    config = place.config("tiles", num_updates=4)
    cell = folder / "comparison" / "tiles" / "70" / "seed0"
    words = ("--seeds", 0, "--num-problems", 4, "--output-dir", folder / "comparison")
    ended = place.run("eval.py", "compare", config, *words)
    assert ended.returncode == 0, ended.stderr
    shutil.copytree(cell, folder / "run")
    for data in (place.folder / "data" / "recorded").iterdir():
        data.rename(folder / data.name)
    run = load_run(folder / "run", read_config(folder / "run"))
    summary = json.loads((cell / "summary.json").read_text())
    save_pretrained(run, summary, folder / "weights" / "small")
    env = load_config(place.folder / config).env
    problems = load_problems(env, Evaluation(num_problems=4))
    np.savez(folder / "problems.npz", start=problems.start, goal=problems.goal.tokens)
    (place.folder / "hostile.py").write_text("open('canary', 'w')")
    return folder


def test_no_damage_is_executed_or_ends_in_a_traceback(place, good, figure):
    command = [sys.executable, "-m", "tests.faults.mutation_program", str(good), str(place.folder / "tiles.py"), "all"]
    environment = place.environment() | {"PYTHONPATH": f"{ROOT}:{place.folder}"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    counts = collections.Counter(row["outcome"] for row in found["rows"])
    failed = [row for row in found["rows"] if row["outcome"] == "failed"]
    assert failed == [], json.dumps(failed, indent=1)
    assert (found["events"], found["canaries"]) == ([], [])
    assert len(found["rows"]) >= MIN_TRIALS
    figure("mutated_files_tried", len(found["rows"]))
    figure("mutated_files_refused", counts["refused"])
    figure("mutated_files_accepted", counts["accepted"])
    figure("mutated_files_executed", 0)
