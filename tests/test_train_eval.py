"""The two commands and data/collect.py from end to end, as a user runs them, on a config of each kind of domain."""

import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eval as eval_program
import train as train_program
from jepa import demo, pretrained, weights_command
from jepa.cli import parse_train
from jepa.config import differences, load_config
from jepa.pretrained import save_pretrained
from jepa.run_config import read_config
from jepa.runs import load_run
from jepa.trained import TrainedAgent

ROOT = Path(__file__).parents[1]
ONE_CONFIG = ROOT / "configs" / "pocket_cube.py"
# Flat latents, slots, and goals that are sets of states; every other config is built of the same parts.
CONFIGS = [
    ROOT / "configs" / "pocket_cube.py",
    pytest.param(ROOT / "configs" / "sliding_tiles.py", marks=pytest.mark.slow),
    pytest.param(ROOT / "configs" / "countdown.py", marks=pytest.mark.slow),
]
REQUIRED = {
    "solved_fraction", "mean_plan_length", "mean_optimal_length", "mean_nodes_generated", "seconds_per_problem",
    "num_problems", "random_solved_fraction", "exact_model_solved_fraction", "false_claim_fraction",
    "rollout_accuracy_1", "rollout_accuracy_4", "rollout_accuracy_14", "reencoded_rollout_accuracy_14",
    "cost_spearman", "sibling_ranking_accuracy",
    "effective_rank", "alarm_collapse", "alarm_drift", "num_transitions", "num_gradient_samples", "num_parameters",
    "training_seconds", "seed", "config", "provenance",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """A working directory that is not the repository."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("workplace")
        patch.chdir(folder)
        yield folder


def call(main, *words: object) -> None:
    """Runs a program in this process with a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program.py", *map(str, words)])
        main()


def run_process(program: str, *words: object) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "JEPA_TRACEBACK"}
    command = [sys.executable, str(ROOT / program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def evaluated(request):
    """A debug run of a config, trained and graded by the two commands."""
    folder = Path("runs") / f"{request.param.stem}-debug" / "seed0"
    if not folder.exists():
        call(train_program.main, request.param, "--debug")
        call(eval_program.main, folder, "--debug")
    return load_config(request.param).env, folder


@pytest.fixture(scope="module")
def one_run(request):
    """The run of one config."""
    folder = Path("runs") / f"{ONE_CONFIG.stem}-debug" / "seed0"
    if not folder.exists():
        call(train_program.main, ONE_CONFIG, "--debug")
        call(eval_program.main, folder, "--debug")
    return load_config(ONE_CONFIG).env, folder


def read_results(folder: Path) -> tuple[dict, list[dict]]:
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return json.loads((folder / "summary.json").read_text()), records


def test_summary_has_all_that_was_promised(evaluated):
    _, folder = evaluated
    summary, _ = read_results(folder)
    assert REQUIRED <= summary.keys()
    assert summary["num_problems"] == 4
    for name in (name for name in summary if name.endswith("_fraction") and summary[name] is not None):
        assert 0 <= summary[name] <= 1


def test_records_are_what_an_exact_replay_says(evaluated):
    """Every plan is replayed move by move; the summary's counts follow from the records."""
    env, folder = evaluated
    summary, records = read_results(folder)
    for record in records:
        state, legal = jnp.array(record["start"], jnp.int32), True
        assert env.invalid_reason(np.array(record["start"])) is None
        for action in record["actions"]:
            legal &= bool(env.legal_actions(state)[action])
            state = env.step(state, jnp.int32(action))
        assert record["solved"] == (legal and state.tolist() == record["goal"])
        assert len(record["predicted_costs"]) == len(record["actions"]) + 1
    assert summary["num_problems"] == len(records)
    assert summary["solved_fraction"] == pytest.approx(np.mean([record["solved"] for record in records]))
    assert summary["mean_nodes_generated"] == np.mean([record["num_nodes_generated"] for record in records])


def test_same_command_again_says_complete(evaluated, capsys):
    _, folder = evaluated
    before = digests(folder)
    config = ROOT / "configs" / f"{folder.parts[1].removesuffix('-debug')}.py"
    call(train_program.main, config, "--debug")
    out, err = capsys.readouterr()
    assert "The run is complete" in err
    assert f"python eval.py {folder}" in out
    assert {**digests(folder), ".lock": ""} == {**before, ".lock": ""}


def test_moved_run_is_graded_elsewhere_without_being_touched(one_run, tmp_path, monkeypatch, capsys):
    env, folder = one_run
    shutil.copytree(folder, tmp_path / "copy")
    before = digests(tmp_path / "copy")
    np.savez(tmp_path / "problems.npz", start=np.tile(env.initial_state(jax.random.key(0)), (3, 1)))
    monkeypatch.chdir(tmp_path)
    words = ["--problems", "problems.npz", "--planner.width", 2, "--num-problems", 20, "--output-dir", "out/put"]
    call(eval_program.main, "copy", *words)
    out, err = capsys.readouterr()
    assert "3 problems of problems.npz" in out
    assert "\r" not in out + err and "\x1b" not in out + err
    assert err.splitlines()[0] == "learned model: 3 of 3 problems"
    assert digests(tmp_path / "copy") == before
    summary, records = read_results(Path("out/put"))
    assert summary["config"]["agent"]["planner"]["width"] == 2
    assert (summary["num_problems"], summary["solved_fraction"], summary["mean_plan_length"]) == (3, 1.0, 0.0)
    assert [record["actions"] for record in records] == [[], [], []]


def test_evaluation_refuses_to_change_what_was_trained(one_run, capsys):
    _, folder = one_run
    before = digests(folder)
    for words in (["--seed", 1], ["--num-transitions", 28], ["--cost-training.learning-rate", 1]):
        with pytest.raises(SystemExit) as caught:
            call(eval_program.main, folder, *words)
        assert caught.value.code == 1
        out, err = capsys.readouterr()
        assert "only planner and test problems can be changed" in err and f"{words[0]}: " in err and out == ""
    assert digests(folder) == before


@pytest.mark.slow
def test_proofs_and_refutations_of_a_trained_run(capsys):
    """A run that was trained for theorems is asked to prove or refute, which changes nothing that was trained."""
    words = ["--debug", "--env.max-depth", 3]
    call(train_program.main, ROOT / "configs" / "equational_proofs.py", *words)
    folder = Path("runs/equational_proofs-debug/seed0")
    call(eval_program.main, folder, "--debug", "--env.refutable-fraction", 1.0, "--output-dir", "refutable")
    summary, records = read_results(Path("refutable"))
    assert (summary["num_problems"], summary["num_refutable"]) == (4, 4)
    assert summary["config"]["env"]["refutable_fraction"] == 1.0
    assert summary["refutable_refuted_fraction"] + summary["refutable_claimed_fraction"] == 1.0
    assert summary["right_answer_fraction"] == np.mean([record["answer"] == "refuted" for record in records])
    assert summary["solved_fraction"] == 0.0 and summary["solvable_solved_fraction"] is None
    for record in records:
        assert " is false in " in record["refutation"] and record["written_plan"] is None
        assert record["answer"] == ("solved" if record["claims_solved"] else "refuted")
    assert "4 problems drawn at random, 4 to be refuted" in capsys.readouterr().out


def test_output_that_cannot_be_written_is_refused_before_planning(one_run, tmp_path, capsys, monkeypatch):
    _, folder = one_run
    (tmp_path / "file").touch()
    monkeypatch.setattr(eval_program, "evaluate_run", None)
    with pytest.raises(SystemExit) as caught:
        call(eval_program.main, folder, "--output-dir", tmp_path / "file")
    assert caught.value.code == 1 and "choose --output-dir" in capsys.readouterr().err


def test_collected_moves_are_those_that_training_records(one_run, tmp_path, monkeypatch, capsys):
    _, folder = one_run
    (usual,) = Path("data/recorded").glob(f"{one_run[0].name}-*")
    expected, name = digests(usual), usual.name
    monkeypatch.chdir(tmp_path)
    collect = runpy.run_path(str(ROOT / "data" / "collect.py"))["main"]
    call(collect, ONE_CONFIG, "--debug")
    assert f"recorded moves of {one_run[0].name} are in data/recorded/{name}" in capsys.readouterr().out
    assert digests(tmp_path / "data" / "recorded" / name) == expected
    call(collect, ONE_CONFIG, "--debug")
    assert digests(tmp_path / "data" / "recorded" / name) == expected
    (tmp_path / "data" / "recorded" / name / "walks-00000.npz").write_bytes(b"damaged")
    with pytest.raises(SystemExit) as caught:
        call(collect, ONE_CONFIG, "--debug")
    assert caught.value.code == 1 and "walks-00000.npz: expected num_bytes" in capsys.readouterr().err


def test_own_puzzle_is_a_config_of_three_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", "configs")
    lines = (
        "import dataclasses",
        "from sliding_tiles import config",
        "config = dataclasses.replace(config, env=dataclasses.replace(config.env, rows=2))",
    )
    Path("configs/small_tiles.py").write_text("\n".join(lines))
    command = parse_train(["configs/small_tiles.py"])
    shipped = load_config(ROOT / "configs" / "sliding_tiles.py")
    assert differences(shipped, command.experiment) == {"env.rows": "3 -> 2"}
    assert command.run_dir == Path("runs/small_tiles/seed0")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("config = Experiment(sed=1)", "bad.py, line 2: TypeError: Experiment.__init__() got an unexpected keyword"),
        (
            "from jepa.envs.pocket_cube import PocketCube; config = Experiment(env=PocketCube(), seed='one')",
            "bad.py: seed of Experiment must be of type int; got 'one'",
        ),
    ],
)
def test_wrong_config_in_a_process_of_its_own(tmp_path, monkeypatch, source, message):
    """Outside of the tests' type checks, which would catch these values first."""
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(f"from jepa.config import Experiment\n{source}\n")
    ended = run_process("train.py", "bad.py")
    assert ended.returncode == 1
    assert message in ended.stderr and "Traceback" not in ended.stderr and ended.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.py"]


def test_a_problem_of_ones_own_is_planned_for(one_run, capsys):
    env, folder = one_run
    agent = TrainedAgent.from_run(folder)
    solved = agent.plan("R")
    state = env.step(env.initial_state(jax.random.key(0)), jnp.int32(env.action_names.index("R")))
    assert solved.states[0].tolist() == state.tolist()
    for name in solved.actions:
        state = env.step(state, jnp.int32(env.action_names.index(name)))
    assert solved.states[-1].tolist() == state.tolist()
    assert solved.solved == (state.tolist() == env.initial_state(jax.random.key(0)).tolist())
    again = agent.plan(env.sample_problem(jax.random.key(5)))
    assert len(again.states) == len(again.actions) + 1
    with pytest.raises(SystemExit) as end:
        call(eval_program.main, "solve", folder, "R")
    out = capsys.readouterr().out
    assert end.value.code == int(not solved.solved)
    assert f"plan ({len(solved.actions)} moves" in out
    with pytest.raises(SystemExit) as end:
        call(eval_program.main, "solve", folder, "Q")
    assert end.value.code == 1
    assert "expected turns of" in capsys.readouterr().err


def test_the_three_lines_of_the_readme_do_what_they_say(one_run, tmp_path, monkeypatch, capsys):
    _, folder = one_run
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if "TrainedAgent" in block]
    (tmp_path / "runs/pocket_cube").mkdir(parents=True)
    (tmp_path / "runs/pocket_cube/seed0").symlink_to(folder.resolve())
    monkeypatch.chdir(tmp_path)
    Path("three_lines.py").write_text(block)
    plan = runpy.run_path("three_lines.py")["plan"]
    assert capsys.readouterr().out.strip() == f"{plan.actions} {plan.solved} {plan.predicted_costs}"
    assert len(plan.predicted_costs) == len(plan.actions) + 1


@pytest.mark.slow
def test_a_page_is_written_on_request(one_run, tmp_path, capsys):
    _, folder = one_run
    call(eval_program.main, folder, "--debug", "--html", "--output-dir", tmp_path)
    assert "page.html in a browser" in capsys.readouterr().out
    assert "What the model imagined" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.slow
def test_figures_are_made_on_request(one_run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    _, folder = one_run
    call(eval_program.main, folder, "--debug", "--figures", "--tensorboard", "--output-dir", tmp_path)
    printed = capsys.readouterr().out
    assert f"tensorboard --logdir {tmp_path / 'tensorboard'}" in printed
    assert "latent_map.pdf, predicted_distance.pdf, rollout_exactness.pdf in " in printed
    assert {path.name for path in (tmp_path / "figures").iterdir()} >= {"latent_map.pdf", "latent_map.png"}
    assert (tmp_path / "tensorboard" / "evaluation" / "latents.tsv").is_file()


@pytest.mark.slow
def test_a_trained_agent_can_be_shipped_and_demonstrated(one_run, tmp_path, monkeypatch, capsys):
    env, folder = one_run
    run = load_run(folder, read_config(folder))
    summary, _ = read_results(folder)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "weights")
    weights_command.main([str(folder), "small"])
    shipped = TrainedAgent.pretrained("small")
    for name, leaf in jax.tree_util.tree_leaves_with_path(run.params):
        (found,) = [other for path, other in jax.tree_util.tree_leaves_with_path(shipped.run.params) if path == name]
        np.testing.assert_array_equal(np.asarray(leaf, np.float16), np.asarray(found, np.float16))
        assert found.dtype == leaf.dtype
    plies = list(shipped.watch("R"))
    assert [ply for ply, _, _ in plies] == list(range(len(plies)))
    assert plies[0][1] == 1
    demo.main(["small", "--problem", "R U", "--html", str(tmp_path / "plan.html")])
    out = capsys.readouterr().out
    assert "plan: " in out and "by an exact replay" in out
    assert "What the model imagined" in (tmp_path / "plan.html").read_text("utf-8")
    with pytest.raises(SystemExit):
        demo.main(["large"])
    assert "of which there are small; came 'large'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        save_pretrained(run, summary, tmp_path / "weights" / "small")
    (tmp_path / "weights" / "small" / "weights.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"weights\.npz is damaged"):
        TrainedAgent.pretrained("small")


@pytest.mark.slow  # In short it is a part of the small comparison.
def test_more_and_less_search_and_sampled_plans(one_run, tmp_path, capsys):
    _, folder = one_run
    pytest.importorskip("matplotlib")
    words = ["--search-scales", 0.02, 1, "--num-samples", 4, "--sampled-problems", 3, "--num-problems", 6, "--figures"]
    words += ["--temperatures", 0.3, 1e9]
    with pytest.raises(SystemExit) as end:
        call(eval_program.main, "curve", folder, *words, "--output-dir", tmp_path / "new")
    assert end.value.code == 0
    result = json.loads((tmp_path / "new/curve.json").read_text())
    little, own = result["search"]
    assert (little["scale"], little["width"], own["scale"]) == (0.02, 1, 1.0)
    assert little["mean_nodes_generated"] < own["mean_nodes_generated"]
    assert own["solved_fraction"] == np.mean(own["solved"]) and len(own["solved"]) == result["num_problems"] == 6
    samples = result["samples"]
    assert samples["k"] == [1, 2, 4] and (samples["num_problems"], samples["num_samples"]) == (3, 4)
    tried, solved, right = samples["calibration"].values()
    best = max((0, 1), key=lambda index: (solved[index], right[index]))
    assert tried == [0.3, 1e9] and samples["temperature"] == tried[best]
    assert all(0 <= one <= whole <= 4 * one for one, whole in zip(right, solved, strict=True))
    shares = [samples[name] for name in ("pass_at_k_oracle", "rerank_at_k", "consensus_at_k")]
    assert shares[0][0] == pytest.approx(shares[1][0]) == pytest.approx(shares[2][0])  # one plan is one plan
    assert all(oracle >= rerank - 1e-9 for oracle, rerank in zip(*shares[:2], strict=True))
    printed = capsys.readouterr().out
    assert "search, width 1" in printed and "rerank@4" in printed and "curve.json" in printed
    assert (tmp_path / "new/figures/success_by_compute.pdf").is_file() and "success_by_compute.pdf" in printed
    assert not (folder / "curve.json").exists()
