"""Best-first search over predicted latents: weighted A*, several expansions at a time, a batch of problems in one loop.

A beam forgets what it does not keep; here every node that was generated waits until it is the best. It suits domains
with dead ends, where a beam may lose all its nodes, and budgets that are counted in nodes.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.planners.expansion import expand
from jepa.planners.memory import empty_memory, first_of_its_kind, nonzero_fingerprints, remember, remembered
from jepa.planners.shortening import shorten
from jepa.types import Plan, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestFirstSearch(Planner):
    """Expands the open nodes of lowest path_weight x (actions so far) + (predicted cost to go).

    The first plan that claims the goal is returned; without one, the plan to the node of lowest predicted cost.

    Source: batch weighted A* (Agostinelli et al., 2019, DeepCubeA, section "Batch weighted A* search"), on latents;
    a node that is reached again by fewer actions is not opened again.
    """

    compute_axis: ClassVar[str] = "num_nodes"

    num_nodes: int = 2000
    """Nodes generated per problem after which the search ends: the axis of test-time compute."""
    num_expansions: int = 8
    """Nodes expanded at a time: more use the hardware better and the budget worse."""
    path_weight: float = 0.6
    """Weight of the actions so far: 0 follows the cost alone (shortest search), 1 is A* (shortest plans)."""
    horizon: int = 40
    """Largest number of actions in a plan."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""
    fingerprint_bits: int = 64
    """Bits by which latents are recognised as seen before, up to 256."""
    shorten_plans: bool = False
    """Whether actions that a plan turns out not to need are left out (see `shortening`); it takes nodes, too."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_nodes", "num_expansions", "horizon", "same_state_tolerance")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""
        search = _start(self, model, start, goal)
        search = jax.lax.while_loop(
            lambda search: _is_running(self, search).any(), lambda search: _expand(self, model, goal, search), search
        )
        plan = _trace_back(self, search)
        return shorten(model, plan, start, goal, self.same_state_tolerance) if self.shorten_plans else plan

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.num_expansions * num_actions


@pytree
class _Search:
    """All nodes of each problem in the order of their making; M is the largest number of them."""

    latents: Float[Array, "B M D"]
    """The nodes."""
    is_open: Bool[Array, "B M"]
    """Which wait to be expanded."""
    costs: Float[Array, "B M"]
    """Predicted costs to go; infinite where there is no node."""
    depths: Int[Array, "B M"]
    """Actions from the start."""
    parents: Int[Array, "B M"]
    """Number of the node from which each was made."""
    actions: Int[Array, "B M"]
    """Action by which."""
    num_nodes: Int[Array, " B"]
    """Nodes kept so far."""
    seen: UInt[Array, "B H"]
    """Memory of their fingerprints."""
    goal_node: Int[Array, " B"]
    """The node that looks like the goal; -1 before there is one."""
    num_nodes_generated: Int[Array, " B"]
    """Legal successors of all nodes expanded so far."""


def _start(config: BestFirstSearch, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents) -> _Search:
    batch, width = start.shape
    # The start, and one node for each that may be generated.
    shape = (batch, config.num_nodes + 1)
    is_first = jnp.broadcast_to(jnp.arange(shape[1]) == 0, shape)
    solved = model.goal_difference(start[:, None], goal)[:, 0] < config.same_state_tolerance
    codes = nonzero_fingerprints(start, config.fingerprint_bits)[:, None]
    return _Search(
        latents=jnp.zeros((*shape, width)).at[:, 0].set(start),
        is_open=is_first,
        costs=jnp.where(is_first, model.cost(start[:, None], goal), jnp.inf),
        depths=jnp.zeros(shape, jnp.int32),
        parents=jnp.zeros(shape, jnp.int32),
        actions=jnp.full(shape, -1, jnp.int32),
        num_nodes=jnp.ones(batch, jnp.int32),
        seen=remember(empty_memory(batch, config.num_nodes), codes, jnp.ones((batch, 1), bool)),
        goal_node=jnp.where(solved, 0, -1),
        num_nodes_generated=jnp.zeros(batch, jnp.int32),
    )


def _is_running(config: BestFirstSearch, search: _Search) -> Bool[Array, " B"]:
    in_budget = search.num_nodes_generated < config.num_nodes
    return (search.goal_node < 0) & search.is_open.any(axis=-1) & in_budget


def _expand(config: BestFirstSearch, model: PlanningModel, goal: GoalLatents, search: _Search) -> _Search:
    """Expands the best open nodes of all problems; those of finished ones are computed along and not kept."""
    batch, _, width = search.latents.shape
    running = _is_running(config, search)
    scores = jnp.where(search.is_open, config.path_weight * search.depths + search.costs, jnp.inf)
    negative, chosen = jax.lax.top_k(-scores, min(config.num_expansions, scores.shape[1]))
    is_node = (negative > -jnp.inf) & running[:, None]
    rows = jnp.arange(batch)[:, None]
    nodes = search.latents[rows, chosen]
    legal = model.legal_actions(nodes.reshape(-1, width)).reshape(*chosen.shape, -1) & is_node[..., None]
    found = expand(model, goal, nodes, legal, config.fingerprint_bits)
    num_actions, legal, codes = legal.shape[-1], legal.reshape(batch, -1), found.codes
    reaches_goal = legal & (found.goal_differences < config.same_state_tolerance)
    # A goal is kept even if its fingerprint is that of another node.
    kept = (legal & first_of_its_kind(codes, legal) & ~remembered(search.seen, codes)) | reaches_goal
    number = search.num_nodes[:, None] + jnp.cumsum(kept, axis=-1) - 1
    capacity = search.latents.shape[1]
    places = jnp.where(kept, number, capacity)
    actions = jnp.broadcast_to(jnp.tile(jnp.arange(num_actions), chosen.shape[1]), codes.shape)
    depths = jnp.repeat(search.depths[rows, chosen] + 1, num_actions, axis=-1)
    first_goal = jnp.argmax(reaches_goal, axis=-1)[:, None]
    at_goal = reaches_goal.any(axis=-1) & (jnp.take_along_axis(places, first_goal, axis=-1)[:, 0] < capacity)

    def store(values, new):
        return values.at[rows, places].set(new, mode="drop")

    return _Search(
        latents=store(search.latents, found.latents),
        is_open=store(search.is_open.at[rows, chosen].min(~is_node), depths < config.horizon),
        costs=store(search.costs, found.costs),
        depths=store(search.depths, depths),
        parents=store(search.parents, jnp.repeat(chosen, num_actions, axis=-1)),
        actions=store(search.actions, actions),
        num_nodes=jnp.minimum(search.num_nodes + kept.sum(axis=-1), capacity),
        seen=remember(search.seen, codes, kept),
        goal_node=jnp.where(at_goal, jnp.take_along_axis(places, first_goal, axis=-1)[:, 0], search.goal_node),
        num_nodes_generated=search.num_nodes_generated + legal.sum(axis=-1),
    )


def _trace_back(config: BestFirstSearch, search: _Search) -> Plan:
    """Follows the parents from the best node back to the start."""
    batch = search.goal_node.shape[0]
    rows = jnp.arange(batch)
    end = jnp.where(search.goal_node >= 0, search.goal_node, jnp.argmin(search.costs, axis=-1))

    def back(node, _):
        at_start = node == 0
        action = jnp.where(at_start, -1, search.actions[rows, node])
        return search.parents[rows, node], (action, jnp.where(at_start, jnp.nan, search.costs[rows, node]))

    _, (actions, costs) = jax.lax.scan(back, end, length=config.horizon)
    # From the end to the start, then nothing: turned round, and moved to the left.
    length = search.depths[rows, end][:, None]
    order = length - 1 - jnp.arange(config.horizon)
    on_plan = order >= 0
    order = jnp.maximum(order, 0)
    actions = jnp.where(on_plan, jnp.take_along_axis(actions.T, order, axis=1), -1)
    costs = jnp.where(on_plan, jnp.take_along_axis(costs.T, order, axis=1), jnp.nan)
    return Plan(
        actions=actions,
        predicted_costs=jnp.concatenate([search.costs[:, :1], costs], axis=1),
        claims_solved=search.goal_node >= 0,
        num_nodes_generated=search.num_nodes_generated,
    )
