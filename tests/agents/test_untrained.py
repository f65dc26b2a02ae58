"""Networks of random weights: nothing is learned, and what they lead a search to is the search's doing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.untrained import UntrainedNetworks
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.mesh import data_mesh
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.types import Problem
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
AGENT = UntrainedNetworks(network=ResidualMLPActor(hidden_width=16))


def test_training_changes_nothing_and_every_seed_has_its_own_weights():
    first, other = (AGENT.stages(GRID, NOTHING, jax.random.key(seed), data_mesh())[0] for seed in (0, 1))
    drawn = jax.tree.map(np.array, first.init().params)
    params, _ = fit(AGENT, GRID, NOTHING)
    jax.tree.map(np.testing.assert_array_equal, params[first.name], drawn)
    is_same = jax.tree.map(lambda one, another: bool((one == another).all()), drawn, other.init().params)
    assert not all(jax.tree.leaves(is_same))


def test_wide_searches_need_no_guide_and_narrow_ones_get_nowhere():
    params, _ = fit(AGENT, GRID, NOTHING)
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    sizes = {"width": SIZE * SIZE, "horizon": 2 * SIZE}
    for search in (ProposalSearch(**sizes), BeamSearch(**sizes)):
        wide = dataclasses.replace(AGENT, planner=search).plan_function(GRID)(params, problems, jax.random.key(0))
        assert wide.claims_solved.all()
        np.testing.assert_array_equal((wide.actions >= 0).sum(axis=1), distances()[:, 0])
        narrow = dataclasses.replace(AGENT, planner=dataclasses.replace(search, width=1))
        assert narrow.plan_function(GRID)(params, problems, jax.random.key(0)).claims_solved.mean() < 0.9
