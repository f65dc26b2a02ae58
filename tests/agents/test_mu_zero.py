"""MuZero learns a model of its own on which shortest ways are found, in latents alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.actors.slot_trunk import TrunkActor
from jepa.agents.episodes import Episodes
from jepa.agents.exact_model import exact_codes, exact_goal_codes
from jepa.agents.mu_zero import MuZero
from jepa.agents.mu_zero_windows import windows
from jepa.behaviours import RandomWalks
from jepa.config import Experiment
from jepa.dataset import collect_walks
from jepa.encoders.trunks import AttentionTrunk
from jepa.envs.base import full_goal
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.mesh import data_mesh
from jepa.planners.beam_search import BeamSearch
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.predictors.legality import TrunkLegality
from jepa.predictors.mlp import MLPPredictor
from jepa.predictors.slot_trunk import TrunkPredictor
from jepa.run_config import changed_training
from jepa.training import Schedule
from jepa.types import Goal, Problem
from tests.agents.grid import SIZE, Grid, distances
from tests.agents.test_baselines import fit

GRID = Grid()
NOTHING = collect_walks(GRID, RandomWalks(walk_length=1), 1, 0)
AGENT = MuZero(
    network=ResidualMLPActor(hidden_width=32),
    dynamics=MLPPredictor(hidden_width=64),
    latent_width=16,
    hidden_width=64,
    episodes=Episodes(num_envs=32, max_scramble=10, episode_length=12),
    practice=GumbelTreeSearch(num_simulations=8, gumbel_scale=1.0),
    rollout_length=8,
    num_kept=2048,
    steps_per_round=16,
    samples_per_step=64,
    training=Schedule(num_updates=30, batch_size=1024, learning_rate=5e-3, updates_per_call=10),
    planner=GumbelTreeSearch(num_simulations=8, horizon=8),
)
CONSISTENT = dataclasses.replace(AGENT, consistency_weight=2.0)
UNMASKED = dataclasses.replace(AGENT, masks_imagined=False)
OF_STATES = dataclasses.replace(CONSISTENT, legality_of_states=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "agent",
    [AGENT, CONSISTENT, UNMASKED, OF_STATES],
    ids=["muzero", "efficientzero", "unmasked", "of_states"],
)
def test_it_finds_shortest_ways_home_on_a_grid_in_latents_alone(agent):
    params, figures = fit(agent, GRID, NOTHING)
    assert figures["solved_episodes"] > 0.9
    assert figures.get("consistency_loss", 0.0) < 0.2  # Unrelated directions are at 1.
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    plan = jax.jit(agent.plan_function(GRID))(params, problems, jax.random.key(0))
    solved, lengths = jax.vmap(GRID.verify)(problems, plan.actions)
    assert solved.mean() > 0.9
    assert (np.asarray(lengths) - distances()[:, 0])[np.asarray(solved)].mean() < 0.2
    assert (plan.claims_solved == solved).mean() > 0.9
    plan = jax.jit(dataclasses.replace(agent, replans=True).plan_function(GRID))(params, problems, jax.random.key(0))
    again, _ = jax.vmap(GRID.verify)(problems, plan.actions)
    assert again.mean() >= solved.mean()


@pytest.mark.parametrize("agent", [AGENT, UNMASKED], ids=["masked", "unmasked"])
def test_replanning_makes_legal_moves_and_knows_where_it_is(agent):
    """Untrained it errs about on its model; on the true dynamics it sees when it has arrived."""
    agent = dataclasses.replace(agent, replans=True)
    (stage,) = agent.stages(GRID, NOTHING, jax.random.key(0), data_mesh())
    states = jnp.arange(SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    params = {stage.name: stage.init().params}
    plan = jax.jit(agent.plan_function(GRID))(params, problems, jax.random.key(0))
    solved, lengths = map(np.asarray, jax.vmap(GRID.verify)(problems, plan.actions))
    assert 0 < solved.mean() < 1
    np.testing.assert_array_equal(plan.claims_solved, solved)
    nodes_per_move = agent.planner.num_simulations + GRID.num_actions
    np.testing.assert_array_equal(plan.num_nodes_generated, lengths * nodes_per_move)
    legal_actions, step = jax.jit(GRID.legal_actions), jax.jit(GRID.step)
    for start, actions, length in zip(states, np.asarray(plan.actions), lengths, strict=True):
        state = start
        for action in actions[:length]:
            assert legal_actions(state)[action]
            state = step(state, action)


def test_given_the_dynamics_claims_are_facts_and_a_wide_beam_finds_every_shortest_way():
    """Untrained: on the true dynamics it takes no more than width to be right; on its model nothing would be."""
    agent = dataclasses.replace(AGENT, planner=BeamSearch(width=SIZE * SIZE, horizon=2 * SIZE), given_dynamics=True)
    (stage,) = agent.stages(GRID, NOTHING, jax.random.key(0), data_mesh())
    states = jnp.arange(1, SIZE * SIZE)[:, None]
    problems = Problem(start=states, goal=full_goal(jnp.zeros_like(states)))
    plan = jax.jit(agent.plan_function(GRID))({stage.name: stage.init().params}, problems, jax.random.key(0))
    solved, lengths = map(np.asarray, jax.vmap(GRID.verify)(problems, plan.actions))
    assert solved.all() and plan.claims_solved.all()
    np.testing.assert_array_equal(lengths, distances()[1:, 0])


def test_only_replanning_asks_the_true_dynamics_and_it_trains_alike():
    again = dataclasses.replace(AGENT, replans=True)
    assert AGENT.planning_verifier_calls(90.0, 10.0) == 0.0
    assert again.planning_verifier_calls(90.0, 10.0) == 10.0
    beam = dataclasses.replace(again, planner=BeamSearch(width=2))
    assert beam.planning_verifier_calls(90.0, 10.0) == 0.0  # It plans in latents, whatever is asked for.
    given = dataclasses.replace(again, given_dynamics=True)
    assert given.planning_verifier_calls(90.0, 10.0) == 90.0
    experiment = Experiment(env=GRID, agent=AGENT)
    assert changed_training(experiment, dataclasses.replace(experiment, agent=given)) == {}
    assert changed_training(experiment, dataclasses.replace(experiment, agent=again)) == {}
    assert set(changed_training(experiment, dataclasses.replace(experiment, agent=MuZero()))) > {"latent_width"}


def test_windows_end_with_their_episode_and_with_the_round():
    stage = AGENT.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    state = stage.init()

    def act(episodes, codes, goals, legal, key):
        return legal.argmax(axis=-1), None

    _, steps, _ = jax.jit(lambda episodes: stage.play(episodes, act, 3, jax.random.key(0)))(state.target.episodes)
    solved = jnp.zeros_like(steps.solved).at[1, 0].set(True)
    steps = jax.tree.map(lambda leaf: leaf[:, :1], dataclasses.replace(steps, solved=solved, ended=solved))
    preferred, returns = steps.legal.astype(jnp.float32), jnp.array([[0.9], [1.0], [0.5]])
    made = windows(steps, preferred, returns, 2, with_following=True)
    np.testing.assert_array_equal(made.actions[0, 0], steps.actions[:2, 0])
    np.testing.assert_array_equal(made.following[0, 0], steps.before.states[1:, 0])
    # The episode is solved by the second move; the third state is the first of the next episode.
    np.testing.assert_array_equal(made.is_state[:, 0], [[1, 1, 0], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(made.is_judged[:, 0], [[1, 1, 1], [1, 1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(made.reached[:, 0, 1:] & made.is_judged[:, 0, 1:], [[0, 1], [1, 0], [0, 0]])
    np.testing.assert_allclose(made.returns[0, 0, :2], [0.9, 1.0])
    assert windows(steps, preferred, returns, 2, with_following=False).following is None


def test_what_came_is_held_fixed_and_what_is_foretold_follows_it():
    module = CONSISTENT.networks(GRID, nnx.Rngs(0))
    came = module.represent(exact_codes(GRID, jnp.arange(SIZE * SIZE)[:, None]))
    unrolled = came[::-1]
    distances = module.distances(unrolled, came)
    assert ((distances > 0) & (distances < 2)).all()
    assert np.abs(jax.grad(lambda latents: module.distances(latents, came).sum())(unrolled)).max() > 1e-3
    assert np.abs(jax.grad(lambda latents: module.distances(unrolled, latents).sum())(came)).max() == 0
    assert not hasattr(AGENT.networks(GRID, nnx.Rngs(0)), "projection")


def test_states_of_other_episodes_are_not_foretold():
    """What lies behind the end of an episode must not change the loss, though it stands in the memory."""
    stage = CONSISTENT.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    state = stage.init()
    example = jax.tree.map(lambda leaf: leaf[:4], state.target.replay.samples)
    example = dataclasses.replace(
        example, legal=jnp.ones_like(example.legal), is_state=example.is_state.at[:, :2].set(True)
    )
    loss = jax.jit(lambda following: stage.loss(state.params, dataclasses.replace(example, following=following))[0])
    before = loss(example.following)
    assert loss(example.following.at[:, 1:].set(7)) == before
    assert loss(example.following.at[:, 0].set(7)) != before


@pytest.mark.parametrize("consistency_weight", [0.0, 2.0])
def test_legality_of_states_that_came_is_learned_and_shapes_no_latents(consistency_weight):
    def slopes(agent: MuZero, came: int) -> dict:
        """Of the loss of legality, by network; if all states that came are the same one."""
        stage = agent.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
        state = stage.init()
        example = jax.tree.map(lambda leaf: leaf[:4], state.target.replay.samples)
        example = dataclasses.replace(example, is_state=jnp.ones_like(example.is_state))
        if example.following is not None:
            example = dataclasses.replace(example, following=jnp.full_like(example.following, came))
        gradient = jax.jit(jax.grad(lambda params: stage.loss(params, example)[1]["legality_loss"]))(state.params)
        return {name: np.concatenate([x.ravel() for x in jax.tree.leaves(of)]) for name, of in gradient.items()}

    unrolled = dataclasses.replace(AGENT, consistency_weight=consistency_weight)
    before = slopes(unrolled, 7)
    np.testing.assert_array_equal(before["legality"], slopes(unrolled, 3)["legality"])
    of_states = dataclasses.replace(unrolled, legality_of_states=True)
    after = slopes(of_states, 7)
    assert np.abs(after["legality"] - slopes(of_states, 3)["legality"]).max() > 1e-4
    # Half of the loss is about unrolled latents, which it goes on to shape, and half about what is held fixed.
    assert np.abs(before["dynamics"]).max() > 1e-5
    for name in ("output", "dynamics"):
        np.testing.assert_allclose(after[name], before[name] / 2, rtol=1e-4, atol=1e-8)


def test_without_a_mask_the_policy_learns_to_leave_out_what_is_illegal():
    """With one, neither the search nor the loss of the policy sees illegal actions at all."""

    def slope_of_illegal_proposals(agent: MuZero) -> float:
        stage = agent.stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
        state = stage.init()
        example = jax.tree.map(lambda leaf: leaf[:4], state.target.replay.samples)
        first = jnp.zeros_like(example.legal).at[..., 0].set(True)
        example = dataclasses.replace(
            example, legal=first, policy=first.astype(jnp.float32), is_state=jnp.ones_like(example.is_state)
        )
        gradient = jax.grad(lambda params: stage.loss(params, example)[0])(state.params)
        return float(sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(gradient["policy"])))

    assert slope_of_illegal_proposals(AGENT) == 0.0
    assert slope_of_illegal_proposals(UNMASKED) > 1e-3
    module = AGENT.networks(GRID, nnx.Rngs(0))
    latents = module.represent(exact_codes(GRID, jnp.arange(SIZE * SIZE)[:, None]))
    assert not module.planning_model(0.95, masked=True).legal_actions(latents).all()
    assert module.planning_model(0.95, masked=False).legal_actions(latents).all()


def test_with_a_slot_for_every_token_each_slot_shows_its_token_alone():
    """Open tokens of a goal look alike, and like no token; the networks that look at several slots get them as such."""
    attention = AttentionTrunk(width=8, num_blocks=1, num_heads=2, slots_per_group=2)
    agent = dataclasses.replace(
        CONSISTENT,
        network=TrunkActor(trunk=attention),
        dynamics=TrunkPredictor(trunk=attention, late_actions=True),
        legality=TrunkLegality(trunk=attention),
        token_slots=True,
        latent_width=4,
        hidden_width=0,
        num_unrolled=2,
    )
    env = SlidingTiles(rows=2, columns=3)
    module = agent.networks(env, nnx.Rngs(0))
    boards = jnp.array([[1, 2, 3, 4, 5, 0], [1, 2, 3, 5, 4, 0]])
    latents = module.represent(exact_codes(env, boards))
    first, second = latents.reshape(2, 6, 4)
    np.testing.assert_array_equal((first == second).all(axis=-1), np.asarray(boards[0] == boards[1]))
    np.testing.assert_allclose(first[3], second[4])
    goal = Goal(tokens=boards[:1], mask=jnp.array([[True, True, False, False, True, True]]))
    of_goal = module.represent(exact_goal_codes(env, goal)).reshape(6, 4)
    np.testing.assert_array_equal(of_goal[2], of_goal[3])
    assert (np.abs(first[:, None] - of_goal[2]).max(axis=-1) > 1e-2).all()
    following = module.unroll(exact_codes(env, boards), jnp.zeros((2, 2), jnp.int32))
    assert following.shape == (2, 3, 24)
    assert module.legality(latents).shape == module.policy(latents, latents).shape == (2, env.num_actions)
    assert ((module.distances(following, following[:, ::-1]) > 0) & (module.distances(following, following) < 2)).all()

    stage = agent.stages(env, NOTHING, jax.random.key(0), data_mesh())[0]
    state = stage.init()
    example = jax.tree.map(lambda leaf: leaf[:4], state.target.replay.samples)
    example = dataclasses.replace(example, is_state=jnp.ones_like(example.is_state))
    gradient = jax.grad(lambda params: stage.loss(params, example)[0])(state.params)
    for name in ("output", "dynamics", "legality", "foretelling"):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[name])) > 0


def test_only_moves_that_are_made_are_counted():
    assert AGENT.moves_per_round == 32 * 8
    stage = AGENT.within(6_000).stages(GRID, NOTHING, jax.random.key(0), data_mesh())[0]
    assert stage.schedule.num_updates * stage.transitions_per_update == 20 * 256  # whole compiled calls


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="MuZero.num_unrolled must be above 0"):
        MuZero(num_unrolled=0)
    with pytest.raises(ValueError, match="MuZero.consistency_weight must be 0 or more; got -1.0"):
        MuZero(consistency_weight=-1.0)
    with pytest.raises(ValueError, match="MuZero.hidden_width must be 0 or more; got -1"):
        MuZero(hidden_width=-1)
    with pytest.raises(ValueError, match="MuZero.num_kept must hold the 1024 moves of a round; got 100"):
        MuZero(num_kept=100)
