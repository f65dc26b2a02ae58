"""The trained agents of the package: they load without being executed, and reach what their cards say."""

import json

import jax
import numpy as np
import pytest

from jepa import pretrained
from jepa.evaluation import Evaluation, load_problems, solve
from jepa.mesh import data_mesh

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
