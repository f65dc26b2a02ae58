"""The successors of the nodes of a search: those of legal pairs of node and action alone, in as many rounds as needed.

Arrays have room for every action of every node, but in many domains few actions are legal, and at the start of a search
few nodes are there. Whatever costs something is therefore worked out for a list of the legal pairs, from its beginning
to its end, a fixed number of them at a time. What comes out is the same as for all pairs at once.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.planners.memory import nonzero_fingerprints
from jepa.types import pytree

MAX_ROUNDS = 16
"""Rounds in which all pairs would be looked at, were all of them legal: more waste less, and use the hardware worse."""


@pytree
class Expansion:
    """The successors of W nodes after A actions each, of B problems: P = W A pairs, the one of w and a is A w + a.

    Where a pair is not legal, nothing means anything.
    """

    latents: Float[Array, "B P D"]
    """Predicted latents."""
    codes: UInt[Array, "B P"]
    """Their fingerprints."""
    costs: Float[Array, "B P"]
    """Predicted actions from there to the goal."""
    goal_differences: Float[Array, "B P"]
    """How far they are from satisfying the goal (see `PlanningModel.goal_difference`)."""


def expand(
    model: PlanningModel,
    goal: GoalLatents,
    nodes: Float[Array, "B W D"],
    legal: Bool[Array, "B W A"],
    fingerprint_bits: int,
) -> Expansion:
    """Returns the successors of nodes after the legal actions."""
    batch, width, num_actions = legal.shape
    num_pairs, latent_width = width * num_actions, nodes.shape[-1]
    round_size = max(width, math.ceil(num_pairs / MAX_ROUNDS))
    pairs, num_legal = _listed(legal.reshape(batch, -1), round_size)
    rows = jnp.arange(batch)[:, None]
    if model.shares_predictions:
        latents = model.predict_all(nodes.reshape(-1, latent_width)).reshape(batch, num_pairs, latent_width)
    else:
        latents = jnp.zeros((batch, num_pairs, latent_width), nodes.dtype)

    def predicted(latents: Float[Array, "B P D"], numbers: Int[Array, "B C"]) -> Float[Array, "B C D"]:
        if model.shares_predictions:
            return latents[rows, numbers]
        parents = nodes[rows, numbers // num_actions].reshape(-1, latent_width)
        return model.predict(parents, (numbers % num_actions).reshape(-1)).reshape(*numbers.shape, latent_width)

    def look(state: tuple[Int[Array, ""], Expansion]) -> tuple[Int[Array, ""], Expansion]:
        done, found = state
        places = jax.lax.dynamic_slice_in_dim(pairs, done, round_size, axis=1)
        successors = predicted(found.latents, jnp.minimum(places, num_pairs - 1))

        def stored(values: Array, new: Array) -> Array:
            return values.at[rows, places].set(new, mode="drop")

        return done + round_size, Expansion(
            latents=found.latents if model.shares_predictions else stored(found.latents, successors),
            codes=stored(found.codes, nonzero_fingerprints(successors, fingerprint_bits)),
            costs=stored(found.costs, model.cost(successors, goal)),
            goal_differences=stored(found.goal_differences, model.goal_difference(successors, goal)),
        )

    nothing = Expansion(
        latents=latents,
        codes=jnp.zeros((batch, num_pairs), jnp.uint32),
        costs=jnp.zeros((batch, num_pairs)),
        goal_differences=jnp.full((batch, num_pairs), jnp.inf),
    )
    return jax.lax.while_loop(lambda state: state[0] < num_legal, look, (jnp.int32(0), nothing))[1]


def _listed(legal: Bool[Array, "B P"], round_size: int) -> tuple[Int[Array, "B L"], Int[Array, ""]]:
    """Returns the numbers of the legal pairs in order, then P up to full rounds, and how many the longest list has."""
    batch, num_pairs = legal.shape
    length = math.ceil(num_pairs / round_size) * round_size
    places = jnp.where(legal, jnp.cumsum(legal, axis=1) - 1, length)
    numbers = jnp.broadcast_to(jnp.arange(num_pairs), legal.shape)
    nothing = jnp.full((batch, length), num_pairs)
    listed = nothing.at[jnp.arange(batch)[:, None], places].set(numbers, mode="drop")
    return listed, legal.sum(axis=1).max()
