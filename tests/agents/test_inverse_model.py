"""The inverse-model policy is the posterior that its data define, and acts on imagined latents alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.inverse_model import InverseModelPolicy
from jepa.agents.latent_planner import trained_actor, trained_world_model
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.encoders.linear import LinearEncoder
from jepa.envs.base import full_goal
from jepa.envs.countdown import Countdown
from jepa.planners.proposal_search import ProposalSearch
from jepa.predictors.reidentification import NoReidentification
from jepa.training import Schedule
from jepa.types import Problem
from jepa.world_model import WorldModel
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit
from tests.exact_world import exact_world_model

GRID, LENGTH, CELLS = Grid(), 8, SIZE * SIZE
AGENT = InverseModelPolicy(
    world_model=exact_world_model(GRID),
    world_model_training=Schedule(num_updates=1, updates_per_call=1, batch_size=8),
    head=ResidualMLPActor(hidden_width=64),
    policy_training=Schedule(num_updates=800, batch_size=256, learning_rate=3e-3),
    planner=ProposalSearch(width=1, horizon=12),
)


def exact_posterior() -> np.ndarray:
    """p(action | state, goal) of random walks from the corner, the goal uniform in the rest; [states, goals, A]."""
    states = jnp.arange(CELLS)[:, None]
    legal = np.asarray(jax.vmap(GRID.legal_actions)(states))
    after = np.asarray(jax.vmap(lambda state: jax.vmap(GRID.step, (None, 0))(state, jnp.arange(4)))(states))[..., 0]
    chance = legal / legal.sum(axis=1, keepdims=True)
    step = np.zeros((CELLS, CELLS))
    np.add.at(step, (np.arange(CELLS)[:, None], after), chance)
    joint, visited = np.zeros((CELLS, CELLS, 4)), np.eye(CELLS)[0]
    for time in range(LENGTH):
        left = LENGTH - time
        later = sum(np.linalg.matrix_power(step, ahead) for ahead in range(left)) / left
        joint += (visited[:, None] * chance)[:, None] * later[after].swapaxes(1, 2)
        visited = visited @ step
    return joint


@pytest.mark.slow
def test_it_is_the_posterior_of_its_data_and_follows_it_home():
    walks = collect_walks(GRID, RandomWalks(walk_length=LENGTH), 80_000, 0)
    params, _ = fit(AGENT, GRID, walks)
    world_model = trained_world_model(AGENT.world_model, GRID, params)
    policy = trained_actor(AGENT.head, world_model.encoder, GRID, params["policy"])
    latents = world_model.encode(jnp.arange(CELLS)[:, None])
    learned = np.asarray(jax.jit(lambda z: jax.nn.softmax(policy(z[:, None], z[None])))(latents))
    joint = exact_posterior()
    weights = joint.sum(axis=-1)
    exact = joint / np.maximum(weights, 1e-12)[..., None]
    far_apart = np.abs(learned - exact).sum(axis=-1) / 2
    assert (far_apart * weights).sum() / weights.sum() < 0.05
    # One move away there is one answer, up to walks that take a detour.
    near = distances() == 1
    np.testing.assert_array_equal(learned[near].argmax(axis=-1), exact[near].argmax(axis=-1))
    states = jnp.argwhere(jnp.asarray(distances()[0] <= 3)).astype(jnp.int32)
    problems = Problem(start=jnp.zeros_like(states), goal=full_goal(states))
    plan = jax.jit(AGENT.plan_function(GRID))(params, problems, jax.random.key(0))
    assert plan.claims_solved.all()
    np.testing.assert_array_equal((plan.actions >= 0).sum(axis=1), distances()[0][states[:, 0]])


def test_an_encoder_that_cannot_leave_goals_open_is_refused():
    flat = WorldModel(encoder=LinearEncoder(), reidentification=NoReidentification())
    agent = dataclasses.replace(AGENT, world_model=flat)
    with pytest.raises(ValueError, match="needs an encoder with one slot per token, .* came LinearEncoder"):
        agent.plan_function(Countdown())
