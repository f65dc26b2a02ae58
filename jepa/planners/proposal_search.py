"""Beam search that predicts only what an actor proposes: one prediction for each place of the beam, not one per action.

A node's score is the logarithm of the probability of the whole way to it, as if the actor had walked there. Among all
actions of all nodes the most probable are predicted, and of those the ones that look like a latent seen before are
dropped. The cost is not needed to choose; it may be added, and it is what the plan reports.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.planners.memory import empty_memory, first_of_its_kind, nonzero_fingerprints, remember, remembered
from jepa.planners.shortening import shorten
from jepa.planners.tree import Tree, empty_tree, trace_back
from jepa.types import Plan, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalSearch(Planner):
    """Breadth-limited search that is led by an actor; returns the first plan that claims the goal."""

    width: int = 128
    """W, the nodes kept after each ply: the axis of test-time compute."""
    horizon: int = 20
    """Largest number of plies, and of actions in a plan."""
    oversampling: float = 1.0
    """Successors predicted in each ply, as a multiple of the width; above 1 where many of them have been seen before,
    as when actions can be taken in any order."""
    cost_weight: float = 0.0
    """How much of the predicted cost is taken off a node's score."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""
    fingerprint_bits: int = 64
    """Bits by which latents are recognised as seen before, see `BeamSearch`."""
    shorten_plans: bool = False
    """Whether actions that a plan turns out not to need are left out (see `shortening`); it takes nodes, too."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "width", "horizon", "same_state_tolerance")
        if self.oversampling < 1:
            raise ValueError(f"ProposalSearch.oversampling must be at least 1; got {self.oversampling}")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class.

        Raises:
          ValueError: the model has no actor.
        """
        if model.propose is None:
            raise ValueError("ProposalSearch needs an actor; give the agent `actor=ActorLearning()` and train it")
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
        return self.num_predicted(num_actions)

    def num_predicted(self, num_actions: int) -> int:
        """Returns how many successors are predicted in each ply."""
        return min(math.ceil(self.width * self.oversampling), self.width * num_actions)


@pytree
class _Search:
    """The frontier, the memory of what was seen, and the tree for reading off the plan."""

    ply: Int[Array, ""]
    """Plies done."""
    latents: Float[Array, "B W D"]
    """The nodes that the beam holds."""
    alive: Bool[Array, "B W"]
    """Which places of the beam hold a node."""
    log_probs: Float[Array, "B W"]
    """Logarithm of the probability of the way to each."""
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
    """Successors predicted so far."""


def _start(config: ProposalSearch, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents) -> _Search:
    batch, width = start.shape
    codes = nonzero_fingerprints(start, config.fingerprint_bits)[:, None]
    seen = empty_memory(batch, config.width * config.horizon)
    return _Search(
        ply=jnp.zeros((), jnp.int32),
        latents=jnp.broadcast_to(start[:, None], (batch, config.width, width)),
        alive=jnp.broadcast_to(jnp.arange(config.width) == 0, (batch, config.width)),
        log_probs=jnp.zeros((batch, config.width)),
        seen=remember(seen, codes, jnp.ones((batch, 1), bool)),
        tree=empty_tree(config.horizon, batch, config.width),
        claims_solved=model.goal_difference(start[:, None], goal)[:, 0] < config.same_state_tolerance,
        last_ply=jnp.zeros(batch, jnp.int32),
        best=jnp.zeros(batch, jnp.int32),
        num_nodes_generated=jnp.zeros(batch, jnp.int32),
    )


def _expand(config: ProposalSearch, model: PlanningModel, goal: GoalLatents, search: _Search) -> _Search:
    """One ply for all problems; finished ones are computed along but no longer change their result."""
    batch, width, latent_width = search.latents.shape
    proposals = search.log_probs[..., None] + model.propose(search.latents, goal)
    num_actions = proposals.shape[-1]
    proposals = jnp.where(search.alive[..., None], proposals, -jnp.inf).reshape(batch, -1)
    log_probs, proposed = jax.lax.top_k(proposals, config.num_predicted(num_actions))
    is_proposed = log_probs > -jnp.inf
    parents, actions = proposed // num_actions, proposed % num_actions
    expanded = jnp.take_along_axis(search.latents, parents[..., None], axis=1)
    successors = model.predict(expanded.reshape(-1, latent_width), actions.reshape(-1)).reshape(expanded.shape)
    costs = model.cost(successors, goal)
    codes = nonzero_fingerprints(successors, config.fingerprint_bits)
    is_new = first_of_its_kind(codes, is_proposed) & ~remembered(search.seen, codes)
    reaches_goal = is_proposed & (model.goal_difference(successors, goal) < config.same_state_tolerance)
    scores = jnp.where(is_new & is_proposed, log_probs - config.cost_weight * costs, -jnp.inf)
    # A node at the goal comes first; a logarithm of a probability is never above 0.
    scores, chosen = jax.lax.top_k(jnp.where(reaches_goal, 1.0, scores), config.width)
    alive = scores > -jnp.inf

    def kept(values: Array) -> Array:
        return jnp.take_along_axis(values, chosen, axis=1)

    running = ~search.claims_solved & search.alive.any(axis=-1)
    return _Search(
        ply=search.ply + 1,
        latents=jnp.take_along_axis(successors, chosen[..., None], axis=1),
        alive=alive & running[:, None],
        log_probs=kept(log_probs),
        seen=remember(search.seen, kept(codes), alive),
        tree=search.tree.grown(search.ply, kept(parents), kept(actions), kept(costs)),
        claims_solved=search.claims_solved | (running & reaches_goal.any(axis=-1)),
        last_ply=jnp.where(running & alive.any(axis=-1), search.ply + 1, search.last_ply),
        best=jnp.where(running, 0, search.best),
        num_nodes_generated=search.num_nodes_generated + jnp.where(running, is_proposed.sum(axis=-1), 0),
    )
