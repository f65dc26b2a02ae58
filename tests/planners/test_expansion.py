import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.planners.base import PlanningModel
from jepa.planners.expansion import MAX_ROUNDS, Expansion, expand
from jepa.planners.memory import nonzero_fingerprints
from tests.planners.graph_world import GraphWorld, standardised

BATCH, WIDTH, BITS = 3, 4, 64


def crowded_world(num_actions: int) -> GraphWorld:
    """Every action leads from every node to some node."""
    rng = np.random.default_rng(0)
    return GraphWorld(successors=rng.integers(50, size=(50, num_actions)), embeddings=standardised(rng, 50))


def looked_at(
    num_actions: int, legal: np.ndarray, *, shares_predictions: bool
) -> tuple[Expansion, Expansion, list[int]]:
    """An expansion, what it should be, and the numbers of pairs of each problem whose cost was asked for."""
    world, rng = crowded_world(num_actions), np.random.default_rng(1)
    model = world.model(rng.uniform(size=(50, 50)))
    nodes = world.latents(rng.integers(50, size=(BATCH, WIDTH)))
    goals = world.latents(rng.integers(50, size=BATCH))
    sizes: list[int] = []

    def counted(latents: jax.Array, goals: jax.Array) -> jax.Array:
        jax.debug.callback(lambda: sizes.append(latents.shape[1]))
        return model.cost(latents, goals)

    watched = dataclasses.replace(model, cost=counted, shares_predictions=shares_predictions)
    found = jax.jit(lambda nodes, legal: expand(watched, goals, nodes, legal, BITS))(nodes, jnp.asarray(legal))
    jax.effects_barrier()
    return found, dense(model, goals, nodes), sizes


def dense(model: PlanningModel, goals: jax.Array, nodes: jax.Array) -> Expansion:
    latents = model.predict_all(nodes.reshape(BATCH * WIDTH, -1)).reshape(BATCH, -1, nodes.shape[-1])
    return Expansion(
        latents=latents,
        codes=nonzero_fingerprints(latents, BITS),
        costs=model.cost(latents, goals),
        goal_differences=model.goal_difference(latents, goals),
    )


@pytest.mark.parametrize("shares_predictions", [True, False])
@pytest.mark.parametrize("num_actions", [1, 3, 70])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_legal_successors_are_what_they_are_by_themselves(num_actions, share, shares_predictions):
    legal = np.random.default_rng(2).uniform(size=(BATCH, WIDTH, num_actions)) < share
    found, expected, _ = looked_at(num_actions, legal, shares_predictions=shares_predictions)
    for values, others in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert values.shape == others.shape
        np.testing.assert_allclose(values[legal.reshape(BATCH, -1)], others[legal.reshape(BATCH, -1)], atol=1e-6)


@pytest.mark.parametrize(
    ("num_legal", "rounds"), [(0, 0), (1, 1), (18, 1), (19, 2), (36, 2), (280, MAX_ROUNDS)], ids=str
)
def test_rounds_are_as_many_as_the_problem_with_most_legal_pairs_needs(num_legal, rounds):
    """With 4 nodes and 70 actions a round looks at 18 pairs of every problem, a sixteenth of the 280."""
    legal = np.zeros((BATCH, WIDTH * 70), bool)
    legal[1, np.random.default_rng(3).permutation(280)[:num_legal]] = True
    _, _, sizes = looked_at(70, legal.reshape(BATCH, WIDTH, 70), shares_predictions=False)
    assert sizes == [18] * rounds


def test_what_is_not_legal_is_not_at_the_goal():
    found, _, _ = looked_at(3, np.zeros((BATCH, WIDTH, 3), bool), shares_predictions=True)
    assert np.isinf(found.goal_differences).all()
