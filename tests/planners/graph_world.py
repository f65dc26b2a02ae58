"""Planning problems on a known graph: latents are random codes of nodes, and every distance is known.

Imports nothing but the border of planning, so that it can run where the rest of the package cannot be imported.
"""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jepa.latents import goal_difference
from jepa.planners.base import PlanningModel

NUM_SLOTS, LATENT_WIDTH = 2, 32
UNREACHABLE = 99


@dataclasses.dataclass(frozen=True, eq=False)
class GraphWorld:
    """Nodes, what each action leads to (-1: illegal), and the embedding that stands for each node."""

    successors: np.ndarray
    embeddings: np.ndarray

    @property
    def num_nodes(self) -> int:
        return len(self.successors)

    def distances_from(self, start: int) -> dict[int, int]:
        """Breadth-first search: every reachable node with its distance."""
        distances, queue = {start: 0}, collections.deque([start])
        while queue:
            node = queue.popleft()
            for following in self.successors[node]:
                if following >= 0 and following not in distances:
                    distances[int(following)] = distances[node] + 1
                    queue.append(int(following))
        return distances

    def distances(self) -> np.ndarray:
        """[start, goal]."""
        table = np.full((self.num_nodes, self.num_nodes), UNREACHABLE, np.float32)
        for start in range(self.num_nodes):
            for goal, distance in self.distances_from(start).items():
                table[start, goal] = distance
        return table

    def replay(self, start: int, actions: np.ndarray) -> list[int]:
        """The nodes along a plan, up to its first -1; an illegal action is an AssertionError."""
        nodes = [start]
        for action in actions:
            if action == -1:
                break
            nodes.append(int(self.successors[nodes[-1], action]))
            assert nodes[-1] >= 0, f"action {action} is illegal in node {nodes[-2]}"
        return nodes

    def latents(self, nodes) -> jax.Array:
        return jnp.asarray(self.embeddings[np.asarray(nodes)])

    def model(self, costs: np.ndarray | jax.Array) -> PlanningModel:
        """The exact model, with a cost for every pair of nodes."""
        embeddings, successors, table = (jnp.asarray(x) for x in (self.embeddings, self.successors, costs))

        def node(latents: jax.Array) -> jax.Array:
            return jnp.argmax(latents @ embeddings.T, axis=-1)

        def propose(latents: jax.Array, goals: jax.Array) -> jax.Array:
            """Each step towards the goal is e times as probable as one that leaves the distance as it is."""
            following = successors[node(latents)]
            left = table[following, node(goals)[:, None, None]]
            return jnp.where(following >= 0, jax.nn.log_softmax(jnp.where(following >= 0, -left, -1e9)), -jnp.inf)

        return PlanningModel(
            # Behind an illegal action lies a latent like any other: the mask alone must keep it out.
            predict_all=lambda latents: embeddings[successors[node(latents)]],
            predict=lambda latents, actions: embeddings[successors[node(latents), actions]],
            legal_actions=lambda latents: successors[node(latents)] >= 0,
            cost=lambda latents, goals: table[node(latents), node(goals)[:, None]],
            goal_difference=lambda latents, goals: goal_difference(latents, goals[:, None], NUM_SLOTS),
            propose=propose,
        )


def standardised(rng: np.random.Generator, num_nodes: int) -> np.ndarray:
    slots = rng.normal(size=(num_nodes, NUM_SLOTS, LATENT_WIDTH // NUM_SLOTS))
    slots = (slots - slots.mean(axis=-1, keepdims=True)) / slots.std(axis=-1, keepdims=True)
    return slots.reshape(num_nodes, LATENT_WIDTH).astype(np.float32)


def grid_world(size: int = 6, seed: int = 0) -> GraphWorld:
    """A grid with some walls between cells, and one cell (the last) walled in; actions are the four directions."""
    rng = np.random.default_rng(seed)
    num_nodes = size * size
    successors = np.full((num_nodes, 4), -1)
    for node in range(num_nodes - 1):
        row, column = divmod(node, size)
        for action, other, inside in ((0, node + 1, column + 1 < size), (1, node + size, row + 1 < size)):
            if inside and other < num_nodes - 1 and rng.random() > 0.15:
                successors[node, action], successors[other, action + 2] = other, node
    return GraphWorld(successors=successors, embeddings=standardised(rng, num_nodes))


def tree_world(depth: int = 5, seed: int = 0) -> GraphWorld:
    """A binary tree of one-way roads, node 0 its root: nothing can be met twice."""
    num_nodes = 2 ** (depth + 1) - 1
    children = 2 * np.arange(num_nodes)[:, None] + np.array([1, 2])
    successors = np.where(children < num_nodes, children, -1)
    return GraphWorld(successors=successors, embeddings=standardised(np.random.default_rng(seed), num_nodes))
