"""Expert iteration learns from its own verified plans, and gains from round to round."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.episodes import Episodes
from jepa.agents.expert_iteration import ExpertIteration
from jepa.behaviours import RandomWalks
from jepa.dataset import collect_walks
from jepa.envs.countdown import Countdown
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.mesh import data_mesh
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule

TILES = SlidingTiles(rows=2, columns=3)
NOTHING = collect_walks(TILES, RandomWalks(walk_length=1), 1, 0)
AGENT = ExpertIteration(
    network=ResidualMLPActor(hidden_width=64),
    episodes=Episodes(num_envs=64, max_scramble=30),
    practice=ProposalSearch(width=2, horizon=25),
    num_kept=4096,
    steps_per_round=32,
    samples_per_step=128,
    training=Schedule(num_updates=20, batch_size=4096, learning_rate=3e-3, weight_decay=0.0, updates_per_call=1),
)


def stage_of(agent: ExpertIteration):
    return agent.stages(TILES, NOTHING, jax.random.key(0), data_mesh())[0]


@pytest.fixture(scope="module")
def rounds():
    stage = stage_of(AGENT)
    states, figures = [], []
    for state, losses in stage.run(stage.init(), {}):
        states.append(jax.tree.map(np.array, state))
        figures.append(losses)
    return stage, states, figures


def test_it_gains_from_round_to_round(rounds):
    _, _, figures = rounds
    solved = [figure["solved_problems"] for figure in figures]
    assert np.mean(solved[:2]) < 0.6
    assert np.mean(solved[-5:]) > np.mean(solved[:2]) + 0.2


def test_only_moves_on_the_way_to_a_goal_are_kept(rounds):
    """Every kept move is legal, and the policy that imitates them would not be asked to stand still at its goal."""
    _, states, _ = rounds
    count, kept = int(states[3].target.count), states[3].target.samples
    assert 0 < count < AGENT.num_kept
    before, actions = jnp.asarray(kept.states[:count]), jnp.asarray(kept.actions[:count])
    legal = jax.vmap(TILES.legal_actions)(before)
    assert np.take_along_axis(np.asarray(legal), kept.actions[:count, None], axis=1).all()
    assert (kept.states[:count] != kept.goals.tokens[:count]).any(axis=1).all()
    after = np.asarray(jax.vmap(TILES.step)(before, actions))
    home = (after == kept.goals.tokens[:count]).all(axis=1).sum()
    solved = sum(round(figure["solved_problems"] * AGENT.episodes.num_envs) for figure in rounds[2][:4])
    assert 0 < home <= solved


@pytest.mark.slow
def test_the_oldest_moves_are_overwritten():
    stage = stage_of(dataclasses.replace(AGENT, num_kept=1600))
    *_, (state, _) = stage.run(stage.init(), {})
    assert int(state.target.count) > 1600
    assert (state.target.samples.states.sum(axis=1) == 15).all()  # every place holds a board


def test_plans_to_a_target_in_any_place_are_kept():
    env = Countdown()
    episodes = Episodes(num_envs=64, max_scramble=3, episode_length=3)
    agent = dataclasses.replace(AGENT, episodes=episodes, practice=ProposalSearch(width=32, horizon=3))
    stage = agent.stages(env, NOTHING, jax.random.key(0), data_mesh())[0]
    state, _ = jax.jit(stage.update)(stage.init(), ())
    count, kept = int(state.target.count), state.target.samples
    moves = jax.tree.map(lambda leaf: leaf[:count], kept)
    after = np.asarray(jax.vmap(env.step)(moves.states, moves.actions))
    is_there = after == np.asarray(moves.goals.tokens)
    assert is_there.any(axis=1).sum() > 20, "the last moves of plans reach their targets"
    assert (is_there.sum(axis=0) > 0)[:3].all(), "in all places to which an operation writes"
    assert moves.goals.mask.all() and not (moves.states == moves.goals.tokens).any(axis=1).any()


def test_a_round_is_charged_for_its_searches():
    assert AGENT.moves_per_round == 64 * 25 * 2
    agent = AGENT.within(40_000)
    assert (agent.training.num_updates, agent.episodes.num_envs) == (12, 64)
    stage = stage_of(agent)
    assert stage.schedule.num_updates * stage.transitions_per_update == 38_400


def test_few_moves_make_small_rounds_with_as_many_samples_in_all():
    agent = AGENT.within(10_000)
    assert agent.episodes.num_envs == 16  # of 64
    assert agent.training.num_updates == 10_000 // (16 * 25 * 2)
    wanted = AGENT.training.num_updates * AGENT.training.batch_size
    rest = agent.training.num_updates * agent.training.batch_size - wanted
    assert 0 <= rest < agent.training.num_updates * AGENT.samples_per_step  # rounded up to whole steps
    assert agent.training.batch_size == agent.steps_per_round * AGENT.samples_per_step
    assert agent.moves_per_round <= 1_000 < AGENT.moves_per_round  # ten rounds fit, where none of them did before


def test_a_memory_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"must hold the 1600 moves of a round; got 100"):
        dataclasses.replace(AGENT, num_kept=100)
