"""The comparison as its user types it, in miniature: real commands, real cells, one seed."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs" / "comparison"
FEW = [FOLDER / f"pocket_cube_{method}.py" for method in ("ours", "ppo")]
"""Imagined and online, which take as long as each other; the same with another planner is a slow test."""
DOMAINS = {ours.stem.removesuffix("_ours") for ours in FOLDER.glob("*_ours.py")}


def slow(domain: str):
    return pytest.param(sorted(FOLDER.glob(f"{domain}_*.py")), id=domain, marks=pytest.mark.slow)


@pytest.mark.parametrize("configs", [pytest.param(FEW, id="few"), *map(slow, sorted(DOMAINS))])
def test_the_small_comparison_runs_from_configs_to_report(configs, tmp_path):
    words = ["compare", *map(str, configs), "--debug", "--seeds", "0", "--jobs", "2", "--search-scales", "0.5"]
    command = [sys.executable, str(ROOT / "eval.py"), *words, "--num-samples", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
    assert ran.returncode == 0, ran.stderr[-3000:]
    folder = tmp_path / "runs" / "comparison-debug"
    assert any((folder / "compiled").iterdir())  # Cells share what they compile.
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert [row["config"] for row in rows] == [path.stem for path in configs]
    assert {row["status"] for row in rows} == {"finished"}
    text = (folder / "comparison.md").read_text()
    budget = int(rows[0]["budget"])
    for title in ("Solved, in %", "Details", "Costs", "More and less search", "Sampled plans", "Who beats whom"):
        assert f"## {title}: {budget:,} transitions" in text
    ours, ppo = (next(row for row in rows if row["config"].endswith(end)) for end in ("_ours", "_ppo"))
    assert (ours["training_verifier_calls"], ours["mean_planning_verifier_calls"]) == ("0", "0.0")
    assert ppo["training_verifier_calls"] == ppo["num_transitions"] != "0"  # asked after every move
    shared = [row for row in rows if "_ours_" in row["config"]]  # Planners alone differ.
    assert ran.stderr.count(f"with what {ours['config']}/") == len(shared)
    assert {row["training_seconds"] for row in shared} <= {ours["training_seconds"]}
    policies = [row for row in rows if row["config"].endswith("_inverse_model")]  # It has our world model, too.
    assert ran.stderr.count("with the world model of ") == len(policies)
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert again.returncode == 0 and f"{len(configs)} finished, 0 to run" in again.stderr
