"""What every actor must do, found by discovery; and how one is learned, on a world model that is exact."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jepa.actors
from jepa.actors.base import Actor, ActorModule, log_proposals
from jepa.actors.learning import ActorLearning, ActorStage
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.actors.slot_trunk import TrunkActor
from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks, RandomWalks
from jepa.costs.imagination import Imagination, imagine_walks
from jepa.dataset import collect_walks
from jepa.encoders.trunks import AttentionTrunk
from jepa.envs.countdown import Countdown
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.hindsight import GoalRules
from jepa.mesh import data_mesh
from jepa.training import Schedule, WorldModelStage
from tests.discovery import discover
from tests.exact_world import breadth_first, exact_world_model

ENV = SlidingTiles(rows=2, columns=3)
LATENT_WIDTH = ENV.num_tokens * ENV.vocab_size
ACTORS = [found() for found in discover(Actor, jepa.actors)]
FULL_GOALS = GoalRules()
LEARNING = ActorLearning(
    head=ResidualMLPActor(hidden_width=64),
    imagination=Imagination(num_walks=64, walk_length=24),
    origin_fraction=1.0,
    schedule=Schedule(num_updates=600, batch_size=256, learning_rate=3e-3),
)


@pytest.fixture(scope="module", params=ACTORS, ids=lambda actor: type(actor).__name__)
def head(request) -> ActorModule:
    sizes = dict(latent_width=LATENT_WIDTH, num_slots=ENV.num_tokens, num_actions=ENV.num_actions)
    return request.param.build(**sizes, rngs=nnx.Rngs(0))


def test_the_shipped_actors_are_found():
    assert {ResidualMLPActor(), TrunkActor()} <= set(ACTORS)


def test_an_actor_broadcasts_latents_against_goals(head):
    latents = jnp.asarray(np.random.default_rng(0).normal(size=(5, LATENT_WIDTH)), jnp.float32)
    pairs = head(latents[:, None], latents[None])
    assert pairs.shape == (5, 5, ENV.num_actions)
    np.testing.assert_allclose(head(latents, latents[2]), pairs[:, 2], atol=1e-5)
    np.testing.assert_allclose(head(latents[1], latents[3]), pairs[1, 3], atol=1e-5)


def test_a_trunk_looks_up_where_that_stands_which_the_goal_names():
    """The action is the place of the symbol that slot 0 of the goal asks for; nearly always right after 200 updates."""
    actor = TrunkActor(trunk=AttentionTrunk(width=32, num_blocks=1, num_heads=2))
    module = actor.build(latent_width=36, num_slots=6, num_actions=6, rngs=nnx.Rngs(0))
    structure, params = nnx.split(module)
    optimizer = optax.adam(3e-3)

    def batch(key):
        states = jax.vmap(lambda key: jax.random.permutation(key, 6))(jax.random.split(key, 128))
        wanted = jax.random.randint(jax.random.fold_in(key, 1), (128,), 0, 6)
        goals = jnp.zeros((128, 6, 6)).at[:, 0].set(jax.nn.one_hot(wanted, 6))
        return jax.nn.one_hot(states, 6).reshape(128, -1), goals.reshape(128, -1), (states == wanted[:, None]).argmax(1)

    def update(carry, key):
        params, opt_state = carry

        def loss(params):
            states, goals, places = batch(key)
            logits = nnx.merge(structure, params)(states, goals)
            return optax.softmax_cross_entropy_with_integer_labels(logits, places).mean()

        changes, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return (optax.apply_updates(params, changes), opt_state), None

    keys = jax.random.split(jax.random.key(0), 200)
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(update, carry, keys))((params, optimizer.init(params)))
    states, goals, places = batch(jax.random.key(1))
    assert (nnx.merge(structure, params)(states, goals).argmax(axis=-1) == places).mean() > 0.95


def test_proposals_are_a_distribution_over_legal_actions():
    legal = jnp.array([[True, False, True], [False, True, False]])
    log_probs = log_proposals(jnp.array([[1.0, 50.0, 1.0], [-3.0, -90.0, 5.0]]), legal)
    np.testing.assert_allclose(jnp.exp(log_probs), [[0.5, 0, 0.5], [0, 1, 0]], atol=1e-6)
    assert (jnp.isneginf(log_probs) == ~legal).all()


# --- Learning.


@pytest.fixture(scope="module")
def walks():
    return collect_walks(ENV, NonBacktrackingWalks(walk_length=12), 600, 0)


def make_stage(walks, learning: ActorLearning, env=ENV, rules=FULL_GOALS) -> tuple[ActorStage, dict]:
    key, mesh = jax.random.key(0), data_mesh()
    world_model = WorldModelStage(exact_world_model(env), Schedule(), env, walks, key, mesh)
    params = {"world_model": world_model.init().params}
    return ActorStage(learning, world_model, walks, env.num_actions, rules, key, mesh), params


@pytest.fixture(scope="module")
def trained(walks):
    stage, params = make_stage(walks, LEARNING)
    *_, (state, figures) = stage.run(stage.init(), params)
    return stage, params, state, figures


def test_imagined_walks_say_which_action_leads_back(walks):
    stage, params = make_stage(walks, LEARNING)
    world_model = stage.world_model.module(params["world_model"])
    recorded = jax.tree.map(jnp.asarray, walks)
    imagined = jax.jit(lambda key: imagine_walks(world_model, recorded, LEARNING.imagination, key))(jax.random.key(1))
    assert not imagined.undoing[:, 0].any()
    assert (imagined.undoing & imagined.legal_actions)[:, 1:].sum(axis=-1).min() == 1
    action = jnp.argmax(imagined.undoing, axis=-1)
    back = jnp.take_along_axis(imagined.successors, action[..., None, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(back[:, 1:], imagined.latents[:, :-1], atol=1e-5)


def test_the_actor_finds_the_way_back_from_all_states(trained):
    """Followed greedily from every board of 2x3 tiles, the proposals of 600 updates lead home in more than 8 of 10."""
    stage, params, state, figures = trained
    world_model, actor = stage.world_model.module(params["world_model"]), stage.module(state.params)
    goal = np.asarray(ENV.sample_problem(jax.random.key(0)).goal.tokens)
    states = jnp.asarray(list(breadth_first(ENV, goal)), jnp.int32)

    def move(states, _):
        logits = actor(world_model.encode(states), world_model.encode(jnp.asarray(goal)))
        actions = log_proposals(logits, jax.vmap(ENV.legal_actions)(states)).argmax(axis=-1)
        moved = jax.vmap(ENV.step)(states, actions)
        return jnp.where((states == goal).all(axis=-1, keepdims=True), states, moved), None

    ends = jax.jit(lambda states: jax.lax.scan(move, states, length=25)[0])(states)
    assert (ends == goal).all(axis=-1).mean() > 0.8
    assert figures["known_fraction"] == 1.0 and figures["accuracy"] > 0.6
    assert abs(figures["recorded_accuracy"] - figures["accuracy"]) < 0.3


def test_forwards_the_actor_finds_the_way_on(walks):
    """Learned towards all boards, greedily followed to one from every board up to four moves away."""
    imagination = Imagination(num_walks=256, walk_length=6, recorded_start_fraction=1.0)
    head = ResidualMLPActor(hidden_width=128)
    schedule = dataclasses.replace(LEARNING.schedule, num_updates=300)
    learning = ActorLearning(head=head, imagination=imagination, origin_fraction=0.0, forward=True, schedule=schedule)
    stage, params = make_stage(walks, learning)
    *_, (state, figures) = stage.run(stage.init(), params)
    world_model, actor = stage.world_model.module(params["world_model"]), stage.module(state.params)
    goal = np.asarray(ENV.sample_problem(jax.random.key(0)).goal.tokens)
    near = [board for board, distance in breadth_first(ENV, goal).items() if distance <= 4]
    states = jnp.asarray(near, jnp.int32)

    def move(states, _):
        logits = actor(world_model.encode(states), world_model.encode(jnp.asarray(goal)))
        actions = log_proposals(logits, jax.vmap(ENV.legal_actions)(states)).argmax(axis=-1)
        moved = jax.vmap(ENV.step)(states, actions)
        return jnp.where((states == goal).all(axis=-1, keepdims=True), states, moved), None

    ends = jax.jit(lambda states: jax.lax.scan(move, states, length=12)[0])(states)
    assert len(near) > 10 and (ends == goal).all(axis=-1).mean() > 0.8
    assert figures["known_fraction"] == 1.0 and abs(figures["recorded_accuracy"] - figures["accuracy"]) < 0.3


@pytest.fixture(scope="module")
def countdown():
    """A stage that learns forwards where nothing can be undone and goals are a single number, and its data."""
    env = Countdown(num_numbers=3, max_value=40)
    recorded = collect_walks(env, RandomWalks(walk_length=2), 60, 0)
    learning = dataclasses.replace(
        LEARNING, forward=True, origin_fraction=0.5, imagination=Imagination(num_walks=16, walk_length=3)
    )
    rules = GoalRules(is_reversible=env.is_reversible, hindsight_mask=env.hindsight_mask)
    stage, params = make_stage(recorded, learning, env, rules)
    state = stage.init()
    return env, stage, state, jax.jit(stage.prepare)(state, stage.resources(params))


def test_forwards_the_label_is_the_action_that_was_taken(countdown):
    env, stage, _, data = countdown
    tokens, right = np.asarray(data.goals.tokens), np.asarray(data.right)
    # Time is turned round; two actions of three numbers, then there is one number left and nothing to do.
    np.testing.assert_array_equal(right.sum(axis=-1), np.broadcast_to([0, 0, 1, 1], right.shape[:2]))
    after = jax.vmap(jax.vmap(env.step))(tokens[:, 1:], right.argmax(axis=-1)[:, 1:])
    np.testing.assert_array_equal(np.where(right[:, 1:].any(axis=-1)[..., None], after, tokens[:, :-1]), tokens[:, :-1])
    assert (np.asarray(data.goals.fixed).sum(axis=-1) == 1).all()
    np.testing.assert_array_equal(data.origins, data.goals.latents[:, 0])


def test_nothing_is_learned_towards_a_goal_that_is_met(countdown):
    env, stage, state, data = countdown
    everything_is_met = dataclasses.replace(data, goals=dataclasses.replace(data.goals, fixed=data.goals.fixed & False))
    update = jax.jit(stage.update)
    (_, figures), (_, of_nothing) = update(state, data), update(state, everything_is_met)
    assert 0 < figures["known_fraction"] < 1 and of_nothing["known_fraction"] == of_nothing["loss"] == 0


def test_learning_is_a_function_of_the_seed(walks):
    learning = dataclasses.replace(
        LEARNING,
        imagination=Imagination(num_walks=8, walk_length=4),
        schedule=Schedule(num_updates=2, updates_per_call=2, batch_size=16),
    )
    results = []
    for _ in range(2):
        stage, params = make_stage(walks, learning)
        *_, (state, _) = stage.run(stage.init(), params)
        results.append(state.params)
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_what_cannot_be_learned_is_refused(walks):
    agent = LatentPlanner(actor=LEARNING)
    env = Countdown()
    recorded = collect_walks(env, NonBacktrackingWalks(walk_length=3), 30, 0)
    with pytest.raises(ValueError, match=r"moves that can be undone .* countdown_4 .* Let it learn forwards"):
        agent.stages(env, recorded, jax.random.key(0), data_mesh())
    with pytest.raises(ValueError, match="between 0 and 1; got 1.5"):
        ActorLearning(origin_fraction=1.5)
