"""Adversarial imitation solves what its expert solves, without ever being told that it did."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.adversarial_imitation import AdversarialImitation, expert_moves
from jepa.agents.episodes import Episodes
from jepa.agents.exact_model import exact_codes
from jepa.behaviours import RandomWalks
from jepa.config import Experiment
from jepa.dataset import collect_walks
from jepa.envs.base import full_goal
from jepa.envs.lights_out import LightsOut
from jepa.mesh import data_mesh
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.runs import _num_transitions
from jepa.training import Schedule
from jepa.types import Problem
from tests.agents.test_baselines import fit

LIGHTS = LightsOut(size=3)
NOTHING = collect_walks(LIGHTS, RandomWalks(walk_length=1), 1, 0)
AGENT = AdversarialImitation(
    network=ResidualMLPActor(hidden_width=64),
    episodes=Episodes(num_envs=64, max_scramble=9, episode_length=12),
    num_expert_moves=2048,
    training=Schedule(num_updates=70, batch_size=64, learning_rate=5e-3, weight_decay=0.0, updates_per_call=10),
    planner=ProposalSearch(width=1, horizon=12),
)


def all_boards() -> Problem:
    boards = jnp.asarray((np.arange(512)[:, None] >> np.arange(9)) & 1, jnp.int32)
    return Problem(start=boards, goal=full_goal(jnp.zeros_like(boards)))


@pytest.mark.slow
def test_it_solves_nearly_every_board_and_its_value_leads_a_search_on_shortest_ways():
    params, _ = fit(AGENT, LIGHTS, NOTHING)
    problems = all_boards()
    plan = jax.jit(AGENT.plan_function(LIGHTS))(params, problems, jax.random.key(0))
    assert plan.claims_solved.mean() > 0.95
    led_by_value = dataclasses.replace(AGENT, planner=BeamSearch(width=4, horizon=12))
    plan = jax.jit(led_by_value.plan_function(LIGHTS))(params, problems, jax.random.key(0))
    assert plan.claims_solved.all()
    lengths = np.asarray((plan.actions >= 0).sum(axis=1))
    assert (lengths - LIGHTS.optimal_lengths(problems)).mean() < 0.2


def test_plans_are_scored_by_the_learned_reward_of_their_moves_and_of_nothing_else():
    stage = AGENT.stages(LIGHTS, NOTHING, jax.random.key(0), data_mesh())[0]
    params = {stage.name: stage.init().params}
    module, problems = stage.module(params[stage.name]), jax.tree.map(lambda leaf: leaf[100:104], all_boards())
    actions = np.array([[3, 5, 8], [3, -1, -1], [-1, -1, -1], [5, 3, -1]])
    by_hand = []
    for start, plan in zip(problems.start, actions, strict=True):
        state, goal, total = start, exact_codes(LIGHTS, jnp.zeros(9, jnp.int32)), 0.0
        for action in jnp.asarray(plan[plan >= 0]):
            logit = module.discriminator(exact_codes(LIGHTS, state)[None], goal[None])[0, action]
            total, state = total + np.log1p(np.exp(-logit)), LIGHTS.step(state, action)
        by_hand.append(total)
    scores = AGENT.plan_scores(LIGHTS)(params, problems, jnp.asarray(actions))
    np.testing.assert_allclose(scores, by_hand, rtol=1e-4, atol=1e-6)
    assert scores[2] == 0 and (scores[jnp.array([0, 1, 3])] > 0).all()


def test_every_move_of_the_expert_is_on_a_shortest_way():
    moves = expert_moves(LIGHTS, AGENT.episodes, 300, jax.random.key(1))
    assert len(moves.actions) == 300
    after = jax.vmap(LIGHTS.step)(jnp.asarray(moves.states), jnp.asarray(moves.actions))
    before, left = (LIGHTS.optimal_lengths(Problem(start=states, goal=moves.goals)) for states in (moves.states, after))
    np.testing.assert_array_equal(before - 1, left)
    assert len(np.unique(moves.actions)) == 9  # of equally good moves not always the same


def test_an_expert_who_knows_no_plan_is_refused(monkeypatch):
    monkeypatch.setattr(LightsOut, "optimal_lengths", lambda self, problems: np.full(len(problems.start), -1))
    with pytest.raises(ValueError, match="no optimal length is known of 64 problems of lights_out_3x3"):
        expert_moves(LIGHTS, AGENT.episodes, 10, jax.random.key(0))


def test_moves_of_the_expert_are_counted():
    assert AGENT.moves_per_round == 1024
    stages = AGENT.within(30_000).stages(LIGHTS, NOTHING, jax.random.key(0), data_mesh())
    assert _num_transitions(Experiment(env=LIGHTS, agent=AGENT), stages) == 2048 + 20 * 1024  # whole compiled calls
    assert AGENT.within(1_000).num_expert_moves == 500


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="AdversarialImitation.num_expert_moves must be above 0"):
        AdversarialImitation(num_expert_moves=0)
    with pytest.raises(ValueError, match="AdversarialImitation.discount must be below 1"):
        AdversarialImitation(discount=1.0)
