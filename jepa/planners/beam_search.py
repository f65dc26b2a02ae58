"""Beam search over predicted latents, for a batch of problems in one compiled loop.

Every ply predicts the latents after all actions of the W kept nodes, drops those that look like a latent seen
before, and keeps the W of lowest predicted cost. Nothing is sorted and no two latents are compared pair by pair:
latents are recognised by fingerprints in a hash table, so time and memory grow linearly with the width.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.planners.inverses import Inverses, nothing_known
from jepa.planners.memory import (
    empty_memory,
    first_of_its_kind,
    nonzero_fingerprints,
    remember,
    remembered,
)
from jepa.planners.shortening import shorten
from jepa.planners.tree import Tree, empty_tree, trace_back
from jepa.types import Plan, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamSearch(Planner):
    """Breadth-limited search that is led by the predicted cost; returns the first plan that claims the goal."""

    width: int = 256
    """W, the nodes kept after each ply: the axis of test-time compute."""
    horizon: int = 20
    """Largest number of plies, and of actions in a plan."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""
    fingerprint_bits: int = 64
    """Bits by which latents are recognised as seen before, up to 256: more confuse fewer states (and drop fewer that
    are new), fewer tolerate more drift (and keep fewer that are not)."""
    skip_inverses: bool = False
    """Whether actions that have always led back to the node before are no longer tried (see `inverses`)."""
    shorten_plans: bool = False
    """Whether actions that a plan turns out not to need are left out (see `shortening`); it takes nodes, too."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "width", "horizon", "same_state_tolerance")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""
        search = _start(self, model, start, goal)

        def unfinished(search: _Search) -> Bool[Array, ""]:
            return (search.ply < self.horizon) & ~jnp.all(search.claims_solved | ~search.alive.any(axis=-1))

        search = jax.lax.while_loop(unfinished, lambda search: _expand(self, model, goal, search), search)
        plan = Plan(
            **trace_back(search.tree, search.last_ply, search.best, model.cost(start[:, None], goal)[:, 0]),
            claims_solved=search.claims_solved,
            num_nodes_generated=search.num_nodes_generated,
        )
        return shorten(model, plan, start, goal, self.same_state_tolerance) if self.shorten_plans else plan

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.width * num_actions


@pytree
class _Search:
    """The frontier, the memory of what was seen, and the tree for reading off the plan."""

    ply: Int[Array, ""]
    """Plies done."""
    latents: Float[Array, "B W D"]
    """The nodes that the beam holds."""
    alive: Bool[Array, "B W"]
    """Which places of the beam hold a node."""
    codes: UInt[Array, "B W"]
    """Their fingerprints."""
    last_actions: Int[Array, "B W"]
    """Action that led to each of them; -1 at the start."""
    before: UInt[Array, "B W"]
    """Fingerprint of the node from which it led there."""
    inverses: Inverses
    """Which action undoes which, as far as it has been noticed."""
    seen: UInt[Array, "B H"]
    """Hash table of the fingerprints of all nodes ever kept; 0 is an empty place."""
    tree: Tree
    """How each node was reached."""
    claims_solved: Bool[Array, " B"]
    """Which problems have a node that looks like the goal."""
    last_ply: Int[Array, " B"]
    """Number of plies after which a problem was finished."""
    best: Int[Array, " B"]
    """Place in the beam at which its plan ends."""
    num_nodes_generated: Int[Array, " B"]
    """Legal successors of all nodes expanded so far."""


def _start(config: BeamSearch, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents) -> _Search:
    batch, width = start.shape
    places = jnp.arange(config.width)
    codes = nonzero_fingerprints(start, config.fingerprint_bits)[:, None]
    seen = empty_memory(batch, config.width * config.horizon)
    num_actions = jax.eval_shape(model.legal_actions, start).shape[-1]
    solved = model.goal_difference(start[:, None], goal)[:, 0] < config.same_state_tolerance
    return _Search(
        ply=jnp.zeros((), jnp.int32),
        latents=jnp.broadcast_to(start[:, None], (batch, config.width, width)),
        alive=jnp.broadcast_to(places == 0, (batch, config.width)),
        codes=jnp.broadcast_to(codes, (batch, config.width)),
        last_actions=jnp.full((batch, config.width), -1),
        before=jnp.zeros((batch, config.width), jnp.uint32),
        inverses=nothing_known(batch, num_actions),
        seen=remember(seen, codes, jnp.ones((batch, 1), bool)),
        tree=empty_tree(config.horizon, batch, config.width),
        claims_solved=solved,
        last_ply=jnp.zeros(batch, jnp.int32),
        best=jnp.zeros(batch, jnp.int32),
        num_nodes_generated=jnp.zeros(batch, jnp.int32),
    )


def _expand(config: BeamSearch, model: PlanningModel, goal: GoalLatents, search: _Search) -> _Search:
    """One ply for all problems; finished ones are computed along but no longer change their result."""
    batch, width, latent_width = search.latents.shape
    flat = search.latents.reshape(-1, latent_width)
    successors = model.predict_all(flat)
    num_actions = successors.shape[1]
    successors = successors.reshape(batch, width * num_actions, latent_width)
    legal = model.legal_actions(flat).reshape(batch, width, num_actions) & search.alive[:, :, None]
    costs = model.cost(successors, goal)
    codes = nonzero_fingerprints(successors, config.fingerprint_bits)
    inverses = search.inverses
    if config.skip_inverses:
        legal &= ~inverses.undoing(search.last_actions)
        leads_back = codes.reshape(legal.shape) == search.before[..., None]
        inverses = inverses.after(search.last_actions, leads_back, legal)
    legal = legal.reshape(batch, -1)
    is_new = first_of_its_kind(codes, legal) & ~remembered(search.seen, codes)
    reaches_goal = legal & (model.goal_difference(successors, goal) < config.same_state_tolerance)
    # A node at the goal comes first, whatever its predicted cost.
    scores = jnp.where(legal & is_new, costs, jnp.inf)
    scores = jnp.where(reaches_goal, -1.0, scores)
    negative, chosen = jax.lax.top_k(-scores, width)
    alive = negative > -jnp.inf
    kept_codes = jnp.take_along_axis(codes, chosen, axis=1)
    running = ~search.claims_solved & search.alive.any(axis=-1)
    parents, actions = chosen // num_actions, chosen % num_actions
    return _Search(
        ply=search.ply + 1,
        latents=jnp.take_along_axis(successors, chosen[..., None], axis=1),
        alive=alive & running[:, None],
        codes=kept_codes,
        last_actions=actions,
        before=jnp.take_along_axis(search.codes, parents, axis=1),
        inverses=inverses,
        seen=remember(search.seen, kept_codes, alive),
        tree=search.tree.grown(search.ply, parents, actions, jnp.take_along_axis(costs, chosen, axis=1)),
        claims_solved=search.claims_solved | (running & reaches_goal.any(axis=-1)),
        last_ply=jnp.where(running & alive.any(axis=-1), search.ply + 1, search.last_ply),
        best=jnp.where(running, 0, search.best),
        num_nodes_generated=search.num_nodes_generated + jnp.where(running, legal.sum(axis=-1), 0),
    )
