"""Baselines are right: each does on a small task what it is known for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jepa.agents
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.base import Agent, Params
from jepa.agents.behaviour_cloning import BehaviourCloning
from jepa.agents.contrastive import ContrastiveDistance
from jepa.agents.exact_model import exact_codes
from jepa.agents.guided_search import GuidedSearch
from jepa.agents.inverse_model import InverseModelPolicy
from jepa.agents.last_move import LastMovePolicy
from jepa.agents.latent_planner import LatentPlanner
from jepa.agents.mu_zero import MuZero
from jepa.agents.offline import GoalSampling, draw_hindsight, sample_hindsight
from jepa.agents.q_learning import QLearning
from jepa.agents.quasimetric import QuasimetricRL
from jepa.agents.random_plans import RandomPlans
from jepa.agents.untrained import UntrainedNetworks
from jepa.agents.walk_length import WalkLengthRegression
from jepa.behaviours import NonBacktrackingWalks, RandomWalks
from jepa.config import shrink
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.pairwise import PairwiseCost
from jepa.costs.quasimetric import QuasimetricCost
from jepa.dataset import collect_walks
from jepa.envs.base import Env
from jepa.envs.countdown import Countdown
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, PlanRecords, load_problems, solve
from jepa.mesh import data_mesh
from jepa.metrics import spearman
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.training import Schedule
from jepa.types import Trajectories
from tests.agents.grid import SIZE, Grid, distances
from tests.discovery import discover
from tests.exact_world import breadth_first

TILES = SlidingTiles(rows=2, columns=3)
GRID = Grid()
NETWORK = ResidualMLPActor(hidden_width=64)
TINY = Schedule(num_updates=2, updates_per_call=2, batch_size=32)
AGENTS = discover(Agent, jepa.agents)
BASELINES = [cls for cls in AGENTS if issubclass(cls, GuidedSearch)]


def schedule(num_updates: int, learning_rate: float = 3e-3) -> Schedule:
    return Schedule(num_updates=num_updates, batch_size=256, learning_rate=learning_rate)


def fit(agent: Agent, env: Env, walks: Trajectories) -> tuple[Params, dict[str, float]]:
    params, figures = {}, {}
    for stage in agent.stages(env, walks, jax.random.key(0), data_mesh()):
        *_, (state, figures) = stage.run(stage.init(), params)
        params[stage.name] = state.params
    return params, figures


def plans(agent: Agent, env: Env, params: Params, num_problems: int = 64) -> PlanRecords:
    evaluation = Evaluation(num_problems=num_problems)
    return solve(env, agent.plan_function(env), params, load_problems(env, evaluation), evaluation, data_mesh())


@pytest.fixture(scope="module")
def walks() -> Trajectories:
    return collect_walks(TILES, NonBacktrackingWalks(walk_length=40), 8_000, 0)


@pytest.fixture(scope="module")
def grid_walks() -> Trajectories:
    return collect_walks(GRID, RandomWalks(walk_length=20), 4_000, 0)


def slow_if_heavy(cls: type) -> object:
    """Marks methods whose programs take long to compile, and which are trained in a file of their own, too."""
    heavy = {
        "AdversarialImitation",
        "AlphaZero",
        "EvolutionStrategies",
        "ExpertIteration",
        "GCIQL",
        "OnlineQLearning",
        "PPO",
        "PQN",
    }
    return pytest.param(cls, marks=pytest.mark.slow) if cls.__name__ in heavy else cls


def test_all_baselines_are_found():
    assert {BehaviourCloning, ContrastiveDistance, LastMovePolicy, QLearning, QuasimetricRL, RandomPlans} < set(AGENTS)
    assert set(AGENTS) - set(BASELINES) == {InverseModelPolicy, LatentPlanner, MuZero}


@pytest.mark.parametrize("cls", [slow_if_heavy(cls) for cls in BASELINES], ids=lambda cls: cls.__name__)
def test_a_baseline_trains_plans_and_never_claims_falsely(cls, walks):
    """On the true dynamics a claim is a fact."""
    agent = cls() if cls in (RandomPlans, UntrainedNetworks) else dataclasses.replace(cls(), training=TINY)
    agent = shrink(agent, hidden_width=8, num_envs=8, rollout_length=4, horizon=6, num_samples=64, num_simulations=4)
    agent = shrink(
        agent, width=8, num_nodes=64, steps_per_round=2, samples_per_step=8, num_pairs=2, num_expert_moves=64
    )
    params, _ = fit(agent, TILES, walks)
    records = plans(agent, TILES, params, num_problems=8)
    np.testing.assert_array_equal(records.claims_solved, records.solved)
    assert (records.num_nodes_generated > 0)[records.optimal_lengths > 0].all()


@pytest.mark.parametrize("cls", [LastMovePolicy, WalkLengthRegression, QuasimetricRL])
def test_what_a_method_cannot_do_is_refused(cls):
    env = Countdown()
    walks = collect_walks(env, NonBacktrackingWalks(walk_length=3), 30, 0)
    with pytest.raises(ValueError, match=rf"{cls.__name__} .* full states; .*countdown"):
        cls().stages(env, walks, jax.random.key(0), data_mesh())


def test_the_last_move_policy_solves_the_small_puzzle_almost_optimally(walks):
    agent = LastMovePolicy(network=NETWORK, training=schedule(600), planner=ProposalSearch(width=16, horizon=30))
    params, _ = fit(agent, TILES, walks)
    records = plans(agent, TILES, params)
    assert records.solved.all()
    assert records.plan_lengths.mean() < records.optimal_lengths.mean() + 1


def test_walk_length_regression_solves_the_small_puzzle_almost_optimally(walks):
    agent = WalkLengthRegression(
        head=PairwiseCost(hidden_width=64), training=schedule(600), planner=BeamSearch(width=16, horizon=30)
    )
    params, _ = fit(agent, TILES, walks)
    records = plans(agent, TILES, params)
    assert records.solved.all()
    assert records.plan_lengths.mean() < records.optimal_lengths.mean() + 1


def grid_pairs(env: Env) -> tuple[jax.Array, jax.Array]:
    """Codes of all states [16, 16, D], and of all goals [16, 1, D]: one problem for each goal."""
    codes = exact_codes(env, jnp.arange(SIZE * SIZE)[:, None])
    return jnp.broadcast_to(codes, (len(codes), *codes.shape)), codes[:, None]


@pytest.mark.slow
def test_quasimetric_rl_finds_the_distances_of_a_grid(grid_walks):
    agent = QuasimetricRL(head=QuasimetricCost(hidden_width=64), far=12.0, tolerance=0.02, training=schedule(2000))
    params, figures = fit(agent, GRID, grid_walks)
    learned = np.asarray(agent.guide(GRID, params).cost(*grid_pairs(GRID)))
    exact = distances()
    relative = np.abs(learned.T - exact)[exact > 0] / exact[exact > 0]
    assert relative.mean() < 0.05
    assert figures["mean_move"] < 1.05


@pytest.mark.slow
def test_q_learning_finds_the_distances_of_a_grid_and_its_policy_is_optimal(grid_walks):
    agent = QLearning(network=NETWORK, training=schedule(1500), target_rate=0.02, max_cost=20.0)
    params, _ = fit(agent, GRID, grid_walks)
    learned = np.asarray(agent.guide(GRID, params).cost(*grid_pairs(GRID)))
    exact = distances().T
    assert np.abs(learned - exact)[exact > 0].mean() < 0.25
    records = plans(agent, GRID, params)
    assert records.solved.all()
    assert records.plan_lengths.mean() < records.optimal_lengths.mean() + 0.2


def test_contrastive_distances_rank_as_exact_ones_do(grid_walks):
    agent = ContrastiveDistance(
        head=EuclideanCost(hidden_width=64, embedding_width=16), copies_per_walk=1, training=schedule(600)
    )
    params, _ = fit(agent, GRID, grid_walks)
    learned = np.asarray(agent.guide(GRID, params).cost(*grid_pairs(GRID))).T
    assert spearman(learned.ravel(), distances().ravel()) > 0.8


@pytest.mark.parametrize(("num_transitions", "num_updates"), [(90, 50), (5_000, 500), (5_499, 500), (10**6, 1000)])
def test_contrastive_learning_passes_only_so_often_through_few_moves(num_transitions, num_updates):
    schedule = Schedule(num_updates=1000, batch_size=100, learning_rate=1e-3, updates_per_call=50)
    agent = ContrastiveDistance(training=schedule, max_passes=10.0).within(num_transitions)
    assert agent.training == dataclasses.replace(schedule, num_updates=num_updates)


def test_cloning_reproduces_what_reaches_a_goal(grid_walks):
    """From random walks: towards a neighbour the one move there, and better than random on the whole grid."""
    agent = BehaviourCloning(network=NETWORK, training=schedule(600))
    params, _ = fit(agent, GRID, grid_walks)
    records = plans(agent, GRID, params)
    near = records.optimal_lengths == 1
    assert (records.plan_lengths[near] == 1).mean() > 0.8
    assert records.solved.mean() > 0.8


def test_random_plans_solve_what_chance_solves(walks):
    few = plans(RandomPlans(planner=RandomShooting(num_samples=1, horizon=3)), TILES, {})
    many = plans(RandomPlans(planner=RandomShooting(num_samples=1024, horizon=25)), TILES, {}, num_problems=32)
    assert few.solved.mean() < 0.2 < many.solved.mean()
    assert (few.num_nodes_generated == 3).all()


# --- Goals in hindsight.


def batch_of(walks: Trajectories, **fractions: float):
    recorded = jax.tree.map(jnp.asarray, walks)
    return sample_hindsight(TILES, recorded, 512, GoalSampling(**fractions), jax.random.key(3))


def test_the_next_state_as_a_goal_is_reached_at_once(walks):
    batch = batch_of(walks, next_fraction=1.0, future_fraction=0.0)
    assert batch.reached.all()
    np.testing.assert_array_equal(batch.goals, batch.successors)


def test_moves_lead_from_state_to_successor_and_goals_lie_in_the_same_walk(walks):
    batch = batch_of(walks, next_fraction=0.0, future_fraction=1.0, discount=1.0)
    states = np.asarray(batch.codes).reshape(512, TILES.num_tokens, -1).argmax(axis=-1)
    after = jax.vmap(TILES.step)(jnp.asarray(states), batch.actions)
    np.testing.assert_allclose(exact_codes(TILES, after), batch.successors, atol=1e-6)
    table = breadth_first(TILES, np.asarray(TILES.initial_state(jax.random.key(0))))
    assert all(tuple(state) in table for state in states.tolist())
    assert 0 < batch.reached.mean() < 0.3


def test_a_discount_makes_goals_nearer(walks):
    near = batch_of(walks, next_fraction=0.0, future_fraction=1.0, discount=0.5).reached.mean()
    far = batch_of(walks, next_fraction=0.0, future_fraction=1.0, discount=0.99).reached.mean()
    assert near > 0.4 > far


def test_goals_of_sets_leave_tokens_open():
    env = Countdown()
    recorded = jax.tree.map(jnp.asarray, collect_walks(env, NonBacktrackingWalks(walk_length=3), 300, 0))
    batch = sample_hindsight(env, recorded, 64, GoalSampling(), jax.random.key(0))
    slots = np.asarray(batch.goals).reshape(64, env.num_tokens, -1)
    assert (slots == 0).all(axis=-1).any(axis=1).all()


def test_posed_goals_in_hindsight_are_reached_wherever_the_target_stands():
    env = Countdown()
    recorded = jax.tree.map(jnp.asarray, collect_walks(env, NonBacktrackingWalks(walk_length=3), 300, 0))
    moves = draw_hindsight(env, recorded, 512, GoalSampling(), jax.random.key(0), as_posed=True)
    assert moves.goals.mask.all()
    has_target = (np.asarray(moves.successors) == np.asarray(moves.goals.tokens)).any(axis=1)
    np.testing.assert_array_equal(moves.reached, has_target)
    was_there = (np.asarray(moves.states) == np.asarray(moves.goals.tokens)).any(axis=1)
    assert 0.2 < has_target.mean() < 0.9 and was_there.mean() < 0.2


def test_fractions_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"shares of at most 1 together; got 0.8 and 0.5"):
        GoalSampling(next_fraction=0.8)
    with pytest.raises(ValueError, match="must divide the batch of 512; got 3"):
        ContrastiveDistance(copies_per_walk=3)
