"""The tree of a search ply by ply: who came from whom by which action, from which a plan is read off backwards."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jepa.types import pytree


@pytree
class Tree:
    """What each of W places of each of T plies held, for B problems."""

    parents: Int[Array, "T B W"]
    """Place of each node's parent in the ply before."""
    actions: Int[Array, "T B W"]
    """Action that led to each node."""
    costs: Float[Array, "T B W"]
    """Predicted cost of each node."""

    def grown(
        self, ply: Int[Array, ""], parents: Int[Array, "B W"], actions: Int[Array, "B W"], costs: Float[Array, "B W"]
    ) -> "Tree":
        """Returns the tree with the nodes of one more ply."""
        return Tree(
            parents=self.parents.at[ply].set(parents),
            actions=self.actions.at[ply].set(actions),
            costs=self.costs.at[ply].set(costs),
        )


def empty_tree(horizon: int, num_problems: int, width: int) -> Tree:
    """Returns the tree before the first ply."""
    shape = (horizon, num_problems, width)
    return Tree(
        parents=jnp.zeros(shape, jnp.int32), actions=jnp.full(shape, -1, jnp.int32), costs=jnp.full(shape, jnp.nan)
    )


def trace_back(
    tree: Tree, last_ply: Int[Array, " B"], best: Int[Array, " B"], start_costs: Float[Array, " B"]
) -> dict[str, Array]:
    """Follows the parents from the best node of the last ply back to the start.

    Returns:
      `actions` [B, T] and `predicted_costs` [B, T + 1] of a `Plan`, padded as there.
    """
    rows = jnp.arange(best.shape[0])

    def back(place, ply):
        on_plan = ply < last_ply
        action = jnp.where(on_plan, tree.actions[ply, rows, place], -1)
        cost = jnp.where(on_plan, tree.costs[ply, rows, place], jnp.nan)
        return jnp.where(on_plan, tree.parents[ply, rows, place], place), (action, cost)

    _, (actions, costs) = jax.lax.scan(back, best, jnp.arange(tree.actions.shape[0]), reverse=True)
    return {"actions": actions.T, "predicted_costs": jnp.concatenate([start_costs[:, None], costs.T], axis=1)}
