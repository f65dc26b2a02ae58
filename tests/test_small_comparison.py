"""The comparison as its user types it, in miniature: real commands, real cells, one seed."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs" / "comparison").glob("*.py"))
FEW = ("pocket_cube_ours", "pocket_cube_ppo")  # imagined and online; all of them are slow


@pytest.mark.parametrize(
    "configs",
    [
        pytest.param([path for path in CONFIGS if path.stem in FEW], id="few"),
        pytest.param(CONFIGS, id="all", marks=pytest.mark.slow),
    ],
)
def test_the_small_comparison_runs_from_configs_to_report(configs, tmp_path):
    words = ["compare", *map(str, configs), "--debug", "--seeds", "0", "--jobs", "2", "--search-scales", "0.5"]
    command = [sys.executable, str(ROOT / "eval.py"), *words, "--num-samples", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-3000:]
    folder = tmp_path / "runs" / "comparison-debug"
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert [row["config"] for row in rows] == [path.stem for path in configs]
    assert {row["status"] for row in rows} == {"finished"}
    text = (folder / "comparison.md").read_text()
    for title in ("Solved, in %", "Details", "Costs", "More and less search", "Sampled plans", "Who beats whom"):
        assert f"## {title}: 14,000 transitions" in text
    ours = next(row for row in rows if row["config"] == "pocket_cube_ours")
    assert (ours["training_verifier_calls"], ours["mean_planning_verifier_calls"]) == ("0", "0.0")
    ppo = next(row for row in rows if row["config"] == "pocket_cube_ppo")
    assert ppo["training_verifier_calls"] == ppo["num_transitions"] != "0"  # asked after every move
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert again.returncode == 0 and f"{len(configs)} finished, 0 to run" in again.stderr
