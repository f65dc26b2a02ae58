"""docs/new_environment.md, followed to the letter: files saved, commands typed, figures compared with the run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import CHECKS, check_machine_traces

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "new_environment.md").read_text()
RESULTS = ROOT / "benchmarks" / "results" / "tutorial"
PARTS = ("jepa", "configs", "tests", "train.py", "eval.py", "pyproject.toml")
BLOCKS = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = "".join(re.findall(r"<!-- run -->\n```bash\n(.*?)```", TEXT, re.DOTALL)).splitlines()
PRINT_TABLE = """
import json, pathlib, sys
from rich.console import Console
from jepa import config, console
experiment = config.load_config(pathlib.Path(sys.argv[1]))
recorded = json.loads(pathlib.Path(sys.argv[2]).read_text())
def agree(old, new):  # Fields that are younger than the run had no part in it.
    return all(agree(old[name], new[name]) for name in old) if isinstance(old, dict) else old == new
assert agree(recorded["config"], config.to_json(experiment)), "the page's config is not that of its figures"
terminal = Console(width=80)
terminal.print(console._results(recorded, experiment.env))
terminal.print(console._details(recorded))
"""


def files() -> dict[str, str]:
    """The files that the page has its reader write: the blocks of each one after the other, spaced as `ruff` wants."""
    found = {}
    for path, block in BLOCKS:
        space = "" if path not in found else "\n" if block.startswith(" ") else "\n\n"
        found[path] = found.get(path, "") + space + block
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A copy of what the page needs of the repository, with the reader's files in it."""
    folder = tmp_path_factory.mktemp("clone")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    for path, content in files().items():
        (folder / path).write_text(content)
    return folder


def run(clone: Path, *words: str) -> str:
    """Runs a command in the copy, with programs compiled quickly, and returns what it prints."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "JEPA_TRACEBACK"))}
    ours["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    ended = subprocess.run(words, cwd=clone, env=ours, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_files_keep_the_rules_of_the_package(clone):
    written = list(files())
    assert written[0].startswith("jepa/envs/") and len(written) == 3
    offences = [offence for check in CHECKS if check is not check_machine_traces for offence in check(clone)]
    assert not [str(offence) for offence in offences if offence.path in written]
    run(clone, sys.executable, "-m", "ruff", "check", *written)
    run(clone, sys.executable, "-m", "ruff", "format", "--check", *written)


@pytest.mark.slow
def test_the_commands_work_as_they_are_typed(clone):
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        printed = run(clone, sys.executable, *shlex.split(command)[1:])
        assert "pytest" not in command or re.search(r"\d\d passed", printed)
    assert "one_way_hanoi_4: 4 problems drawn at random" in printed
    assert (clone / "runs" / "one_way_hanoi-debug" / "seed0" / "summary.json").is_file()


def test_the_printed_table_is_that_of_the_recorded_run(clone):
    recorded = RESULTS / "as_printed.json"
    table = run(clone, sys.executable, "-c", PRINT_TABLE, "configs/one_way_hanoi.py", str(recorded))
    assert json.loads(recorded.read_text())["solved_fraction"] >= 0.95
    missing = {line.strip() for line in table.splitlines()} - {line.strip() for line in TEXT.splitlines()}
    assert "the learned model" in table and not missing


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_rows_of_other_runs_are_those_of_recorded_runs(path):
    found = json.loads(path.read_text())
    shares = ("solved", "exact_model_solved", "false_claim")
    cells = [f"{found[f'{share}_fraction']:.1%}" for share in shares]
    cells += [f"{found['last_metrics'][f'{name}_error']:.5f}" for name in ("prediction", "legality")]
    cells += [f"{found['rollout_accuracy_1']:.1%}", f"{found['sibling_ranking_accuracy']:.1%}"]
    cells += [f"{found['mean_plan_length']:.2f} ({found['mean_optimal_length']:.2f})"]
    assert f"| {' | '.join(cells)} |" in TEXT
