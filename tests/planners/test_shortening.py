"""Shortening against what is known by construction: errands of which a goal needs some, in any legal order."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.latents import goal_difference
from jepa.planners.base import PlanningModel
from jepa.planners.shortening import shorten
from jepa.types import Plan

# Errand i can be run once all that it needs are done; a state is the set of errands that are done.
NEEDS = {0: (), 1: (), 2: (0,), 3: (1,), 4: (2,), 5: (0, 1)}
NUM_ERRANDS, SLOT_WIDTH, HORIZON = len(NEEDS), 4, 8


def latents_of(done: np.ndarray | jax.Array) -> jax.Array:
    signs = jnp.where(done, 1.0, -1.0)
    return jnp.repeat(signs, SLOT_WIDTH, axis=-1) * jnp.tile(jnp.array([1.0, -1.0]), NUM_ERRANDS * SLOT_WIDTH // 2)


def done_in(latents: jax.Array) -> jax.Array:
    return latents[..., ::SLOT_WIDTH] > 0


def legal_in(done: jax.Array) -> jax.Array:
    needs = jnp.array([[other in NEEDS[errand] for other in NEEDS] for errand in NEEDS])
    return ~done & (done[..., None, :] | ~needs).all(axis=-1)


MODEL = PlanningModel(
    predict_all=lambda latents: latents_of(done_in(latents)[:, None] | jnp.eye(NUM_ERRANDS, dtype=bool)),
    predict=lambda latents, actions: latents_of(done_in(latents) | jax.nn.one_hot(actions, NUM_ERRANDS, dtype=bool)),
    legal_actions=lambda latents: legal_in(done_in(latents)),
    cost=lambda latents, goals: (~done_in(latents)).sum(axis=-1).astype(jnp.float32),
    goal_difference=lambda latents, goals: goal_difference(latents, goals, NUM_ERRANDS),
)


def necessary(errand: int) -> set[int]:
    return {errand}.union(*(necessary(other) for other in NEEDS[errand]))


def legal_orders() -> list[tuple[int, ...]]:
    """All orders in which all errands can be run."""
    orders = itertools.permutations(NEEDS)
    return [order for order in orders if all(set(NEEDS[e]) <= set(order[:i]) for i, e in enumerate(order))]


def plan_of(sequences: list[tuple[int, ...]], claims: bool = True) -> Plan:
    actions = np.full((len(sequences), HORIZON), -1)
    for row, sequence in zip(actions, sequences, strict=True):
        row[: len(sequence)] = sequence
    places = np.arange(HORIZON + 1)
    lengths = np.array([len(sequence) for sequence in sequences])[:, None]
    return Plan(
        actions=jnp.asarray(actions),
        predicted_costs=jnp.where(places <= lengths, NUM_ERRANDS - places, jnp.nan),
        claims_solved=jnp.full(len(sequences), claims),
        num_nodes_generated=jnp.zeros(len(sequences), jnp.int32),
    )


def shortened(plan: Plan, errand: int) -> Plan:
    fixed = jnp.repeat(jnp.arange(NUM_ERRANDS) == errand, SLOT_WIDTH)
    goal = jnp.where(fixed, latents_of(jnp.ones(NUM_ERRANDS, bool)), 0.0)
    batch = len(plan.actions)
    start = jnp.tile(latents_of(jnp.zeros(NUM_ERRANDS, bool)), (batch, 1))
    short = jax.jit(shorten, static_argnums=(0, 4))(MODEL, plan, start, jnp.tile(goal, (batch, 1, 1)), 0.3)
    return jax.tree.map(np.asarray, short)


@pytest.mark.parametrize("errand", NEEDS)
def test_what_the_goal_needs_is_left_and_nothing_else_in_the_order_of_the_plan(errand):
    orders = [order[: order.index(errand) + 1] for order in legal_orders()]
    needed = necessary(errand)
    short = shortened(plan_of(orders), errand)
    for order, actions, costs in zip(orders, short.actions, short.predicted_costs, strict=True):
        expected = [step for step in order if step in needed]
        assert actions[actions >= 0].tolist() == expected and (actions[len(expected) :] == -1).all()
        np.testing.assert_allclose(costs[: len(expected) + 1], NUM_ERRANDS - np.arange(len(expected) + 1))
        assert np.isnan(costs[len(expected) + 1 :]).all()


def test_every_prediction_behind_what_is_left_out_counts_as_a_node():
    # 4 needs 0 and 2. From the back: without 4 nothing follows; without 2 there is 4 to predict (and 4 is illegal);
    # without 1 there are 2 and 4; without 0 there are 2 and 4 again, as 1 is gone.
    short = shortened(plan_of([(0, 1, 2, 4)]), 4)
    assert short.actions[0, :4].tolist() == [0, 2, 4, -1]
    assert short.num_nodes_generated.tolist() == [0 + 1 + 2 + 2]


def test_a_plan_that_claims_nothing_stays_as_it_is():
    plan = plan_of([(0, 1, 2), ()], claims=False)
    short = shortened(plan, 4)
    for name in ("actions", "predicted_costs", "num_nodes_generated", "claims_solved"):
        np.testing.assert_array_equal(getattr(short, name), getattr(plan, name))
