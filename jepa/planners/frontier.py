"""What breadth-limited searches share: a frontier that moves ply by ply, and never meets the same latent twice.

A planner of this kind says only which successors it looks at and how it ranks them. Nothing is sorted and no two
latents are compared pair by pair: latents are recognised by fingerprints in a hash table, so time and memory grow
linearly with the width.
"""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.planners.memory import empty_memory, first_of_its_kind, nonzero_fingerprints, remember, remembered
from jepa.planners.shortening import shorten
from jepa.planners.tree import Tree, empty_tree, trace_back
from jepa.types import Plan, pytree, require_positive


@pytree
class Frontier:
    """The W nodes that a search holds for each of B problems, the memory of what it saw, and the way to each node."""

    ply: Int[Array, ""]
    """Plies done."""
    latents: Float[Array, "B W D"]
    """The nodes."""
    alive: Bool[Array, "B W"]
    """Which places hold a node."""
    codes: UInt[Array, "B W"]
    """Their fingerprints."""
    worth: Float[Array, "B W"]
    """What the planner carries along with each of them; 0 at the start."""
    last_actions: Int[Array, "B W"]
    """Action that led to each of them; -1 at the start."""
    before: UInt[Array, "B W"]
    """Fingerprint of the node from which it led there."""
    seen: UInt[Array, "B H"]
    """Hash table of the fingerprints of all nodes ever kept; 0 is an empty place."""
    tree: Tree
    """How each node was reached."""
    claims_solved: Bool[Array, " B"]
    """Which problems have a node that looks like the goal."""
    last_ply: Int[Array, " B"]
    """Number of plies after which a problem was finished."""
    num_nodes_generated: Int[Array, " B"]
    """Nodes generated so far."""

    @property
    def running(self) -> Bool[Array, " B"]:
        """Which problems are searched on; the others are computed along, but their result no longer changes."""
        return ~self.claims_solved & self.alive.any(axis=-1)


@pytree
class Successors:
    """C successors of the nodes of a frontier, of which the best are kept."""

    latents: Float[Array, "B C D"]
    """Predicted latents."""
    codes: UInt[Array, "B C"]
    """Their fingerprints."""
    parents: Int[Array, "B C"]
    """Places of the nodes that they follow."""
    actions: Int[Array, "B C"]
    """Actions that lead to them."""
    is_node: Bool[Array, "B C"]
    """Which are nodes at all: these are counted."""
    costs: Float[Array, "B C"]
    """Predicted actions from there to the goal."""
    goal_differences: Float[Array, "B C"]
    """How far they are from satisfying the goal."""
    worth: Float[Array, "B C"]
    """What the planner carries along."""
    scores: Float[Array, "B C"]
    """By what they are ranked; the highest are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrontierSearch(Planner):
    """Breadth-limited search over predicted latents; returns the first plan that claims the goal."""

    compute_axis: ClassVar[str] = "width"

    width: int = 256
    """W, the nodes kept after each ply: the axis of test-time compute."""
    horizon: int = 20
    """Largest number of plies, and of actions in a plan."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""
    fingerprint_bits: int = 64
    """Bits by which latents are recognised as seen before, up to 256: more confuse fewer states (and drop fewer that
    are new), fewer tolerate more drift (and keep fewer that are not)."""
    shorten_plans: bool = False
    """Whether actions that a plan turns out not to need are left out (see `shortening`); it takes nodes, too."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "width", "horizon", "same_state_tolerance")

    @abc.abstractmethod
    def initial_knowledge(self, num_problems: int, num_actions: int) -> Any:
        """Returns what the planner knows of each problem before the search, beside the frontier."""

    @abc.abstractmethod
    def successors(
        self, model: PlanningModel, goal: GoalLatents, frontier: Frontier, knowledge: Any
    ) -> tuple[Successors, Any]:
        """Returns the successors of a frontier that are looked at, and what is known after them."""

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""

        def unfinished(search: tuple[Frontier, Any]) -> Bool[Array, ""]:
            return (search[0].ply < self.horizon) & search[0].running.any()

        search = self._begin(model, start, goal)
        frontier, _ = jax.lax.while_loop(unfinished, lambda search: self._advance(model, goal, *search), search)
        # A node at the goal is always the first of its frontier.
        ends, start_costs = jnp.zeros(start.shape[0], jnp.int32), model.cost(start[:, None], goal)[:, 0]
        plan = Plan(
            **trace_back(frontier.tree, frontier.last_ply, ends, start_costs),
            claims_solved=frontier.claims_solved,
            num_nodes_generated=frontier.num_nodes_generated,
        )
        return shorten(model, plan, start, goal, self.same_state_tolerance) if self.shorten_plans else plan

    def watch(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents) -> Iterator[Frontier]:
        """Searches as `plan` does, but lets every frontier be looked at, the first one included."""
        frontier, knowledge = jax.jit(lambda start, goal: self._begin(model, start, goal))(start, goal)
        yield frontier
        advance = jax.jit(lambda frontier, knowledge: self._advance(model, goal, frontier, knowledge))
        while int(frontier.ply) < self.horizon and bool(frontier.running.any()):
            frontier, knowledge = advance(frontier, knowledge)
            yield frontier

    def _begin(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents) -> tuple[Frontier, Any]:
        (batch, latent_width), width = start.shape, self.width
        codes = nonzero_fingerprints(start, self.fingerprint_bits)[:, None]
        num_actions = jax.eval_shape(model.legal_actions, start).shape[-1]
        frontier = Frontier(
            ply=jnp.zeros((), jnp.int32),
            latents=jnp.broadcast_to(start[:, None], (batch, width, latent_width)),
            alive=jnp.broadcast_to(jnp.arange(width) == 0, (batch, width)),
            codes=jnp.broadcast_to(codes, (batch, width)),
            worth=jnp.zeros((batch, width)),
            last_actions=jnp.full((batch, width), -1),
            before=jnp.zeros((batch, width), jnp.uint32),
            seen=remember(empty_memory(batch, width * self.horizon), codes, jnp.ones((batch, 1), bool)),
            tree=empty_tree(self.horizon, batch, width),
            claims_solved=model.goal_difference(start[:, None], goal)[:, 0] < self.same_state_tolerance,
            last_ply=jnp.zeros(batch, jnp.int32),
            num_nodes_generated=jnp.zeros(batch, jnp.int32),
        )
        return frontier, self.initial_knowledge(batch, num_actions)

    def _advance(
        self, model: PlanningModel, goal: GoalLatents, frontier: Frontier, knowledge: Any
    ) -> tuple[Frontier, Any]:
        """One ply for all problems."""
        found, knowledge = self.successors(model, goal, frontier, knowledge)
        is_new = first_of_its_kind(found.codes, found.is_node) & ~remembered(frontier.seen, found.codes)
        reaches_goal = found.is_node & (found.goal_differences < self.same_state_tolerance)
        scores = jnp.where(found.is_node & is_new, found.scores, -jnp.inf)
        # A node at the goal comes first, however it is ranked.
        scores, chosen = jax.lax.top_k(jnp.where(reaches_goal, jnp.inf, scores), self.width)
        alive, running = scores > -jnp.inf, frontier.running

        def kept(values: Array) -> Array:
            return jnp.take_along_axis(values, chosen, axis=1)

        codes, parents, actions = kept(found.codes), kept(found.parents), kept(found.actions)
        advanced = Frontier(
            ply=frontier.ply + 1,
            latents=jnp.take_along_axis(found.latents, chosen[..., None], axis=1),
            alive=alive & running[:, None],
            codes=codes,
            worth=kept(found.worth),
            last_actions=actions,
            before=jnp.take_along_axis(frontier.codes, parents, axis=1),
            seen=remember(frontier.seen, codes, alive),
            tree=frontier.tree.grown(frontier.ply, parents, actions, kept(found.costs)),
            claims_solved=frontier.claims_solved | (running & reaches_goal.any(axis=-1)),
            last_ply=jnp.where(running & alive.any(axis=-1), frontier.ply + 1, frontier.last_ply),
            num_nodes_generated=frontier.num_nodes_generated + jnp.where(running, found.is_node.sum(axis=-1), 0),
        )
        return advanced, knowledge
