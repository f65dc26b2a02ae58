"""The trained agents of the package: they load without being executed, and reach what their cards say."""

import json

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jepa import demo, pretrained
from jepa.envs import base
from jepa.evaluation import Evaluation, load_problems, solve
from jepa.mesh import data_mesh
from jepa.trained import TrainedAgent

NAMES = pretrained.names()


def test_there_is_one():
    assert "pocket_cube" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_where_the_weights_come_from(name):
    card = json.loads((pretrained.FOLDER / name / "card.json").read_text("utf-8"))
    assert card["provenance"]["git_commit"]
    assert card["num_problems"] >= 100
    run = pretrained.load_pretrained(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(run.params)) == card["num_parameters"]
    size = sum(path.stat().st_size for path in (pretrained.FOLDER / name).iterdir())
    assert size < 4_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_solves_as_many_problems_as_its_card_says(name):
    """Of other problems than those of the card, and in half precision."""
    card = json.loads((pretrained.FOLDER / name / "card.json").read_text("utf-8"))
    run = pretrained.load_pretrained(name)
    env, agent = run.experiment.env, run.experiment.agent
    config = Evaluation(num_problems=100, problem_seed=1).batched(agent.planner.nodes_per_ply(env.num_actions))
    records = solve(env, agent.plan_function(env), run.params, load_problems(env, config), config, data_mesh())
    spread = 2 * np.sqrt(card["solved_fraction"] * (1 - card["solved_fraction"]) / 100)
    assert records.solved.mean() >= card["solved_fraction"] - spread - 0.01
    is_known = records.solved & (records.optimal_lengths >= 0)
    excess = (records.plan_lengths - records.optimal_lengths)[is_known]
    spread = 2 * excess.std() / np.sqrt(len(excess))  # A few proofs are much longer than they could be.
    assert excess.mean() <= card["mean_plan_length"] - card["mean_optimal_length"] + spread + 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "nonsense!", "0 " * 5_000, "1 2 3 4 5 6 8 7 0"])
def test_what_is_no_problem_gets_one_sentence(name, text, capsys, monkeypatch):
    monkeypatch.setattr(demo, "_keep_compiled_programs", lambda: None)
    with pytest.raises(SystemExit) as end:
        demo.main([name, "--problem", text])
    assert end.value.code == 1
    printed = capsys.readouterr().err
    said, hint = printed.splitlines()
    assert said.startswith("error: ") and len(said) < 400
    assert hint == "(JEPA_TRACEBACK=1 shows where)"


@pytest.fixture
def own_settings():
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in settings}
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_the_demo_keeps_what_it_compiled_and_says_why_there_is_no_plan(own_settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JEPA_CACHE_DIR", str(tmp_path))
    assert demo.main(["countdown", "--problem", "1 1 1 1 -> 96"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "not solved" in printed
    assert "There is no solution: no way to combine 1 1 1 1" in printed
    assert list((tmp_path / "compiled").iterdir())


def test_the_rules_are_compiled_once_for_all_plans():
    agent = TrainedAgent.pretrained("sliding_tiles")
    assert base._compiled_rules(agent.env) is base._compiled_rules(TrainedAgent.pretrained("sliding_tiles").env)
