"""What every cost must do, found by discovery; and how a cost is learned, on a world model that is exact."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jepa.costs
from jepa.behaviours import NonBacktrackingWalks, RandomWalks
from jepa.costs.base import Cost, CostModule
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination, imagine_forward_walks, imagine_walks
from jepa.costs.learning import CostLearning, CostStage
from jepa.costs.pairwise import PairwiseCost
from jepa.dataset import collect_walks
from jepa.encoders.trunks import AttentionTrunk
from jepa.envs.countdown import Countdown
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.hindsight import GoalRules
from jepa.mesh import data_mesh
from jepa.metrics import spearman
from jepa.training import Schedule, WorldModelStage
from tests.discovery import discover
from tests.exact_world import ExactPredictor, ExactPredictorModule, breadth_first, exact_world_model

ENV = SlidingTiles(rows=2, columns=3)
LATENT_WIDTH = ENV.num_tokens * ENV.vocab_size
COSTS = [found() for found in discover(Cost, jepa.costs)] + [PairwiseCost(trunk=AttentionTrunk(width=8, num_blocks=1))]


# --- Every cost.


@pytest.fixture(scope="module", params=COSTS, ids=lambda cost: type(cost).__name__)
def head(request) -> CostModule:
    return request.param.build(latent_width=LATENT_WIDTH, num_slots=ENV.num_tokens, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def latents() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, LATENT_WIDTH)), jnp.float32)


def test_the_shipped_costs_are_found():
    assert {"EuclideanCost", "PairwiseCost"} <= {type(cost).__name__ for cost in COSTS}


def test_a_cost_is_the_distance_of_embeddings_for_all_shapes(head, latents):
    pairs = jax.jit(lambda latents: head(latents[:, None], latents[None]))(latents)
    embeddings, goals = head.embed(latents), head.embed_goal(latents)
    np.testing.assert_allclose(head.distance(embeddings[:, None], goals[None]), pairs, atol=1e-5)
    # Squares are compared: the root of a rounded zero is far from zero.
    np.testing.assert_allclose(head.all_distances(embeddings, goals) ** 2, pairs**2, rtol=1e-4, atol=1e-4)
    batched = head.all_distances(jnp.stack([embeddings[:2], embeddings[2:4]]), jnp.stack([goals[:3], goals[3:]]))
    parts = jnp.stack([pairs[:2, :3], pairs[2:4, 3:]])
    np.testing.assert_allclose(batched**2, parts**2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(head(latents, latents[0]), pairs[:, 0], atol=1e-5)
    np.testing.assert_allclose(head(latents[2], latents[3]), pairs[2, 3], atol=1e-5)


def test_all_distances_at_once_have_the_gradients_of_each(head, latents):
    def loss(embeddings, distances):
        logits = -distances(embeddings, head.embed_goal(latents[3:]))
        return jnp.trace(jax.nn.log_softmax(logits))

    embeddings = head.embed(latents[:3])
    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    at_once = gradient(embeddings, head.all_distances)
    of_each = gradient(embeddings, lambda left, right: head.distance(left[:, None], right[None]))
    assert np.abs(of_each).max() > 0.01
    np.testing.assert_allclose(at_once, of_each, atol=1e-4)


def test_symmetric_costs_are_distances_and_others_are_positive(head, latents):
    cost = np.asarray(head(latents[:, None], latents[None]))
    if not head.is_symmetric:
        assert (cost > 0).all() and np.abs(cost - cost.T).max() > 0.01
        return
    assert (np.diag(cost) < 0.01).all()
    assert (cost[~np.eye(len(cost), dtype=bool)] > 0.01).all()
    np.testing.assert_allclose(cost, cost.T, atol=1e-5)
    assert (cost[:, :, None] <= cost[:, None, :] + cost.T[None] + 1e-4).all()


def test_the_gradient_is_finite_even_at_the_goal(head, latents):
    gradient = jax.jit(jax.grad(lambda latents: head(latents, jax.lax.stop_gradient(latents)).sum()))(latents)
    assert jnp.isfinite(gradient).all()


# --- Imagined walks.


@pytest.fixture(scope="module")
def walks():
    return collect_walks(ENV, NonBacktrackingWalks(walk_length=24), 24 * 40, seed=0)


@pytest.fixture(scope="module")
def distances() -> dict[tuple[int, ...], int]:
    return breadth_first(ENV, np.array([1, 2, 3, 4, 5, 0]))


def world_model_stage(walks, predictor: ExactPredictor | None = None) -> WorldModelStage:
    config = exact_world_model(ENV)
    if predictor is not None:
        config = dataclasses.replace(config, predictor=predictor)
    schedule = Schedule(num_updates=1, batch_size=8, updates_per_call=1)
    return WorldModelStage(config, schedule, ENV, walks, jax.random.key(0), data_mesh(jax.devices()[:1]))


@pytest.fixture(scope="module")
def imagined(walks):
    """Imagined walks, and the states that their latents stand for."""
    stage = world_model_stage(walks)
    world_model = stage.module(stage.init().params)
    imagination = Imagination(num_walks=64, walk_length=10, recorded_start_fraction=0.5)
    result = jax.jit(lambda walks, key: imagine_walks(world_model, walks, imagination, key))(walks, jax.random.key(0))
    decoded = jax.tree.map(np.asarray, jax.tree.map(world_model.encoder.decode, (result.latents, result.successors)))
    return result, *decoded, np.asarray(world_model.encoder.decode(result.goals))


def test_imagined_walks_are_walks_of_the_domain(imagined):
    result, states, successors, _ = imagined
    assert states.shape == (64, 11, ENV.num_tokens)
    over_actions = jax.vmap(ENV.step, in_axes=(None, 0))
    step = jax.jit(jax.vmap(jax.vmap(over_actions, in_axes=(0, None)), in_axes=(0, None)))
    assert (np.asarray(step(states, jnp.arange(ENV.num_actions))) == successors).all()
    legal = np.asarray(jax.vmap(jax.vmap(ENV.legal_actions))(states))
    assert (np.asarray(result.legal_actions) == legal).all()
    follows = (successors[:, :-1] == states[:, 1:, None]).all(axis=-1) & legal[:, :-1]
    assert follows.any(axis=-1).all()


def test_imagined_walks_do_not_turn_back(imagined):
    states = imagined[1]
    assert (states[:, 2:] != states[:, :-2]).any(axis=-1).all()


def test_imagined_walks_begin_where_they_say(imagined, walks):
    result, states, _, goals = imagined
    elapsed = np.asarray(result.elapsed)
    assert (np.diff(elapsed, axis=1) == 1).all()
    began = elapsed[:, 0]
    assert (began[32:] == 0).all() and began[:32].min() >= 0 and began[:32].max() > 3
    recorded = {(*walk[0], time, *walk[time]) for walk in walks.states.tolist() for time in range(len(walk))}
    assert all((*goals[i], began[i], *states[i, 0]) in recorded for i in range(len(states)))


def test_elapsed_time_is_an_upper_bound_of_the_distance_to_the_goal(imagined, distances):
    result, states, _, goals = imagined
    assert set(map(tuple, goals.tolist())) == {(1, 2, 3, 4, 5, 0)}
    exact = np.array([[distances[tuple(state)] for state in walk] for walk in states.tolist()])
    assert (exact <= np.asarray(result.elapsed)).all() and (exact < np.asarray(result.elapsed)).any()


def test_forward_walks_take_their_actions_and_seldom_turn_back(walks):
    world_model = exact_world_model(ENV).build(ENV, jax.random.key(0))
    imagination = Imagination(num_walks=256, walk_length=10, recorded_start_fraction=0.5)
    imagine = jax.jit(lambda walks, key: imagine_forward_walks(world_model, walks, imagination, key))
    result = imagine(walks, jax.random.key(0))
    states = np.asarray(world_model.encoder.decode(result.latents))
    assert states.shape == (256, 11, ENV.num_tokens)
    after = np.asarray(jax.vmap(jax.vmap(ENV.step))(states, result.actions))
    np.testing.assert_array_equal(after[:, :-1], states[:, 1:])
    legal = np.asarray(jax.vmap(jax.vmap(ENV.legal_actions))(states))
    np.testing.assert_array_equal(result.legal_actions, legal)
    assert np.take_along_axis(legal, np.asarray(result.actions)[..., None], axis=-1).all()
    # A corner of the board has two moves, of which one leads back: drawn twice in a row with probability 1/4.
    turns_back = (states[:, 2:] == states[:, :-2]).all(axis=-1).mean()
    blind = np.mean([1 / row.sum() ** 2 for row in legal[:, 1:-1].reshape(-1, ENV.num_actions)])
    assert abs(turns_back - blind) < 0.03


# --- Targets and the alarm of leaking time, in a world whose latents are clocks.


def clock(latents: jax.Array) -> jax.Array:
    """1 for encoded latents: standardised one-hot slots of 6 values have the largest entry sqrt(5)."""
    return jnp.abs(latents).max(axis=-1, keepdims=True) / 5**0.5


class LeakyPredictorModule(ExactPredictorModule):
    """Exact up to the length of the latents, which grows by that of an encoded one with every prediction."""

    def __call__(self, latents, actions):
        return super().__call__(latents, actions) * (1 + clock(latents))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeakyPredictor(ExactPredictor):
    def build(self, *, latent_width, num_slots, num_actions, rngs):
        return LeakyPredictorModule(self.env)


class ClockCostModule(CostModule):
    """Reads off the latents how often they were predicted, times a factor, and nothing else."""

    def __init__(self):
        self.factor = nnx.Param(jnp.ones(()))

    def embed(self, latents):
        return self.factor[...] * clock(latents)

    def distance(self, embeddings, goals):
        return jnp.abs(embeddings - goals).sum(axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClockCost(Cost):
    def build(self, *, latent_width, num_slots, rngs):
        return ClockCostModule()


@pytest.fixture(scope="module")
def clock_losses(walks):
    """Factor and number of updates done to the losses of a call of one update; Bellman's bound begins with the 2nd."""
    world_model = world_model_stage(walks, LeakyPredictor(env=ENV))
    config = CostLearning(
        head=ClockCost(),
        imagination=Imagination(num_walks=32, walk_length=10),
        states_per_walk=11,
        goal_weight=0.25,
        bellman_start=0.5,
    )
    schedule = Schedule(num_updates=2, batch_size=11 * 32, updates_per_call=1)
    stage = CostStage(
        config, schedule, world_model, walks, GoalRules(), jax.random.key(0), data_mesh(jax.devices()[:1])
    )
    resources = stage.resources({"world_model": world_model.init().params})
    call = stage.compile()

    def losses(factor: float, num_updates: int) -> dict[str, float]:
        state = dataclasses.replace(
            stage.init(), params={"factor": jnp.float32(factor)}, num_updates=jnp.int32(num_updates)
        )
        return {name: float(value) for name, value in call(state, resources)[1].items()}

    return losses


@pytest.mark.parametrize("bellman", [False, True])
@pytest.mark.parametrize("factor", [0.0, 0.1, 0.5, 1.0, 20.0])
def test_targets_are_the_smaller_of_gap_and_bellmans_bound(clock_losses, factor, bellman):
    losses = clock_losses(factor, int(bellman))
    # The head gives every latent the distance factor x gap; all successors of i lie at time i + 1.
    i, j = np.meshgrid(np.arange(11), np.arange(11), indexing="ij")
    gaps = np.abs(i - j)
    targets = np.minimum(gaps, 1 + factor * np.abs(i + 1 - j)) if bellman else gaps
    errors = (factor * gaps - targets) ** 2
    goal_loss, pair_loss = errors[:, 0].mean(), errors[gaps > 0].mean()
    assert losses["goal_loss"] == pytest.approx(goal_loss, rel=1e-4, abs=1e-5)
    assert losses["pair_loss"] == pytest.approx(pair_loss, rel=1e-4, abs=1e-5)
    assert losses["loss"] == pytest.approx(0.25 * goal_loss + 0.75 * pair_loss, rel=1e-4, abs=1e-5)


def test_the_alarm_rises_when_latents_leak_time(clock_losses):
    figures = clock_losses(1.0, 0)
    assert figures["alarm_drift"] == 1
    assert figures["recorded_time_error"] == pytest.approx((np.arange(1, 25) ** 2).mean(), rel=0.01)
    assert figures["imagined_time_error"] < 1e-3 * figures["recorded_time_error"]


# --- Goals in hindsight, where moves cannot be undone.


def countdown_pairs(foreign_goals: bool = False, bellman_start: float = 1.0, updates_per_call: int = 1):
    """States of imagined walks, the masks of what they ask for as goals, the goals, and the targets of all pairs.

    With two updates in a call Bellman's bound is worked out for all pairs at once: 512, of which they take 768.
    """
    env = Countdown(num_numbers=3, max_value=40)
    walks = collect_walks(env, RandomWalks(walk_length=2), 2 * 64, seed=0)
    schedule = Schedule(num_updates=2, batch_size=3 * 32, updates_per_call=updates_per_call)
    mesh = data_mesh(jax.devices()[:1])
    world_model = WorldModelStage(exact_world_model(env), schedule, env, walks, jax.random.key(0), mesh)
    config = CostLearning(
        head=PairwiseCost(hidden_width=8),
        imagination=Imagination(num_walks=32, walk_length=3),
        states_per_walk=4,
        max_cost=9.0,
        bellman_start=bellman_start,
        foreign_goals=foreign_goals,
    )
    rules = GoalRules(is_reversible=env.is_reversible, hindsight_mask=env.hindsight_mask)
    stage = CostStage(config, schedule, world_model, walks, rules, jax.random.key(0), mesh)
    resources = stage.resources({"world_model": world_model.init().params})
    state = stage.init()
    data = jax.jit(stage.prepare)(state, resources)
    indices = jnp.broadcast_to(jnp.arange(32)[:, None], (32, 4))
    times = jnp.broadcast_to(jnp.arange(4), (32, 4))
    goals = stage._goals(indices), stage._goals(times)
    is_own_walk = indices[:, :, None] == goals[0][:, None]
    targets = jax.jit(stage._pair_targets)(state, data, (indices, times), goals, is_own_walk)
    assert (data.bellman is not None) == (updates_per_call > 1)
    return env, *map(np.asarray, (data.goals.tokens, data.goals.fixed, data.goals.latents)), np.asarray(targets)


@pytest.fixture(scope="module")
def countdown_targets():
    return countdown_pairs()


def test_a_goal_in_hindsight_is_a_part_of_a_reached_state(countdown_targets):
    env, tokens, fixed, goals, _ = countdown_targets
    assert (fixed.sum(axis=-1) == 1).all() and (tokens[fixed] > 0).all()
    is_open = (goals.reshape(*fixed.shape, -1) == 0).all(axis=-1)
    assert (is_open == ~fixed).all()


def test_targets_towards_goals_in_hindsight(countdown_targets):
    env, tokens, fixed, _, targets = countdown_targets
    legal = np.asarray(jax.vmap(jax.vmap(env.legal_actions))(tokens)).any(axis=-1)
    assert not legal[:, 3].any() and legal[:, 0].all()
    kinds = set()
    for walk in range(len(tokens)):
        clock = np.concatenate([[0], np.cumsum(legal[walk])])[:4]  # It stands still behind a dead end.
        for i, j in np.ndindex(4, 4):
            has_it = (tokens[walk, i] == tokens[walk, j])[fixed[walk, j]].all()
            expected = 0 if has_it else clock[j] - clock[i] if j >= i else 9
            kinds.add((bool(has_it), j > i))
            assert targets[walk, i, j] == expected
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}


def test_goals_of_other_walks_are_out_of_reach_until_bellman_says_otherwise(countdown_targets):
    env, tokens, fixed, _, targets = countdown_pairs(foreign_goals=True)
    np.testing.assert_array_equal(targets[:, :, :4], countdown_targets[-1])
    others = np.roll(tokens, 1, axis=0), np.roll(fixed, 1, axis=0)
    has_it = ((tokens[:, :, None] == others[0][:, None]) | ~others[1][:, None]).all(axis=-1)
    np.testing.assert_array_equal(targets[:, :, 4:], np.where(has_it, 0, 9))
    assert 0 < has_it.mean() < 0.5


def test_bounds_of_all_pairs_at_once_are_those_of_the_pairs_taken(countdown_targets):
    one_by_one, at_once = (countdown_pairs(bellman_start=0.0, updates_per_call=count)[-1] for count in (1, 2))
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-5)
    assert (at_once < countdown_targets[-1]).mean() > 0.1


# --- Learning.


def test_a_cost_learns_the_exact_distances_of_an_exact_world(walks, distances):
    config = CostLearning(
        head=EuclideanCost(hidden_width=64, embedding_width=16),
        imagination=Imagination(num_walks=64, walk_length=24, recorded_start_fraction=0.5),
        states_per_walk=8,
        bellman_start=0.2,
    )
    schedule = Schedule(num_updates=1000, batch_size=256, updates_per_call=20, learning_rate=3e-3)
    world_model = world_model_stage(walks)
    stage = CostStage(
        config, schedule, world_model, walks, GoalRules(), jax.random.key(0), data_mesh(jax.devices()[:1])
    )
    params = {"world_model": world_model.init().params}
    calls = list(stage.run(stage.init(), params))
    assert all(losses["alarm_drift"] == 0 for _, losses in calls)
    encode = world_model.module(params["world_model"]).encode
    latents = encode(jnp.asarray(list(distances), jnp.int32))
    predicted = np.asarray(stage.module(calls[-1][0].params)(latents, latents[:1]))
    exact = np.array(list(distances.values()))
    assert len(exact) == 360 and exact[0] == 0
    assert spearman(predicted, exact) > 0.98
    assert predicted[0] < 0.1 and np.abs(predicted - exact).mean() < 1
