"""Takes back in imagination the actions of a plan that it did not need.

A search that comes upon the goal has often done something for nothing on the way. Whether an action was needed can be
asked of the world model: leave it out, imagine the rest, and see whether every action is still legal and the goal is
still reached. It suits domains whose actions do not undo each other, such as derivations; where a detour takes several
actions to leave and come back (a cube), no single one can be left out.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.types import Plan


def shorten(
    model: PlanningModel, plan: Plan, start: Float[Array, "B D"], goal: GoalLatents, same_state_tolerance: float
) -> Plan:
    """Returns the plans without such actions, each tried once, from the last to the first.

    Plans that do not claim the goal stay as they are. Every prediction along a shorter plan counts as a node.
    """
    batch, horizon = plan.actions.shape
    num_states = horizon + 1

    def follow(latents: Float[Array, "B D"], position: Int[Array, ""], kept: Bool[Array, "B T"]) -> tuple:
        """One action of each plan that keeps it there, and whether it is legal."""
        action, taken = jnp.maximum(plan.actions[:, position], 0), kept[:, position]
        legal = jnp.take_along_axis(model.legal_actions(latents), action[:, None], axis=1)[:, 0]
        return jnp.where(taken[:, None], model.predict(latents, action), latents), legal | ~taken

    def imagine(kept: Bool[Array, "B T"]) -> Float[Array, "T+1 B D"]:
        """The latents along the plans, standing still at what is left out."""
        _, latents = jax.lax.scan(lambda z, t: (follow(z, t, kept)[0],) * 2, start, jnp.arange(horizon))
        return jnp.concatenate([start[None], latents])

    along = imagine(plan.actions >= 0)

    def leave_out(position: Int[Array, ""], carry: tuple[Bool[Array, "B T"], Int[Array, " B"]]) -> tuple:
        kept, num_nodes = carry
        position = horizon - 1 - position
        behind = kept & (jnp.arange(horizon) > position)

        def step(at: Int[Array, ""], replay: tuple[Float[Array, "B D"], Bool[Array, " B"]]) -> tuple:
            latents, is_legal = replay
            latents, legal = follow(latents, at, behind)
            return latents, is_legal & legal

        # Nothing in front of the position has been left out so far.
        latents, is_legal = jax.lax.fori_loop(position + 1, horizon, step, (along[position], jnp.ones(batch, bool)))
        reaches = model.goal_difference(latents[:, None], goal)[:, 0] < same_state_tolerance
        tried = kept[:, position] & plan.claims_solved
        without = kept & (jnp.arange(horizon) != position)
        kept = jnp.where((tried & is_legal & reaches)[:, None], without, kept)
        return kept, num_nodes + jnp.where(tried, behind.sum(axis=1), 0)

    carry = (plan.actions >= 0, plan.num_nodes_generated)
    kept, num_nodes = jax.lax.fori_loop(0, horizon, leave_out, carry)
    latents = imagine(kept).swapaxes(0, 1)
    costs = jnp.where(plan.claims_solved[:, None], model.cost(latents, goal), plan.predicted_costs)
    costs = costs.at[:, 0].set(plan.predicted_costs[:, 0])
    # What is kept moves to the front, and so does the cost behind it.
    order = jnp.argsort(~kept, axis=1, stable=True)
    length = kept.sum(axis=1)[:, None]
    places = jnp.arange(num_states)
    costs = jnp.concatenate([costs[:, :1], jnp.take_along_axis(costs[:, 1:], order, axis=1)], axis=1)
    return dataclasses.replace(
        plan,
        actions=jnp.where(places[:-1] < length, jnp.take_along_axis(plan.actions, order, axis=1), -1),
        predicted_costs=jnp.where(places <= length, costs, jnp.nan),
        num_nodes_generated=num_nodes,
    )
