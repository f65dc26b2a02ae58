"""A search as points on a plane: the latents that a beam held, ply by ply, by predicted cost and main direction."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jepa.runs import Run
from jepa.types import Problem

POINTS_PER_PLY = 60
"""Nodes of a ply that are kept for the map; the others would only hide them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchMap:
    """Where the nodes of a search lie in the direction in which they differ most; places in [0, 1]."""

    plies: list[Float[np.ndarray, "_ 2"]]
    """For each ply the places of some of its nodes, and their predicted costs."""
    num_nodes: list[int]
    """How many nodes each ply held."""
    path: Float[np.ndarray, " T_plus_1"]
    """The plan."""
    goals: Float[np.ndarray, " K"]
    """What was to be reached; slots that a goal leaves open take the values of the plan's last latent."""
    explained: float
    """Share of the variance of the nodes that lies in this direction."""


def map_searches(run: Run, problems: Problem, plans: Sequence[Int[np.ndarray, " _"]]) -> list[SearchMap]:
    """Searches B problems once more, together, and watches; the planner of the run must be a `FrontierSearch`."""
    env, agent = run.experiment.env, run.experiment.agent
    model, starts, goals = agent.planning_inputs(env, run.params, problems)
    predict, generator = jax.jit(model.predict), np.random.default_rng(0)
    held, counts = [[] for _ in plans], [[] for _ in plans]
    start_costs = np.asarray(jax.jit(model.cost)(starts[:, None], goals))
    for frontier in agent.planner.watch(model, starts, goals):
        ply, alive, latents = int(frontier.ply), np.asarray(frontier.alive), np.asarray(frontier.latents)
        costs = np.asarray(frontier.tree.costs[ply - 1]) if ply else np.broadcast_to(start_costs, alive.shape)
        for problem in np.flatnonzero(alive.any(axis=1)):
            places = np.flatnonzero(alive[problem])
            some = np.sort(generator.permutation(places)[:POINTS_PER_PLY])
            held[problem].append((latents[problem, some], costs[problem, some]))
            counts[problem].append(len(places))
    maps = []
    for problem, actions in enumerate(plans):
        path = [starts[problem, None]]
        for action in actions.tolist():
            path.append(predict(path[-1], jnp.array([action])))
        ends = np.asarray(jnp.where(goals[problem] == 0, path[-1], goals[problem]))
        maps.append(_flattened(held[problem], counts[problem], np.asarray(jnp.concatenate(path)), ends))
    return maps


def _flattened(
    held: list[tuple[Float[np.ndarray, "_ D"], Float[np.ndarray, " _"]]],
    counts: list[int],
    path: Float[np.ndarray, "T_plus_1 D"],
    goals: Float[np.ndarray, "K D"],
) -> SearchMap:
    """Projects everything on the main direction of the nodes, path and goals."""
    everything = np.concatenate([latents for latents, _ in held] + [path, goals])
    centre = everything.mean(axis=0)
    direction, explained = _main_direction(everything - centre)
    flat = (everything - centre) @ direction
    low, extent = flat.min(), max(float(np.ptp(flat)), 1e-6)  # Where nothing differs, rounding is not blown up.

    def placed(latents: Float[np.ndarray, "points D"]) -> Float[np.ndarray, " points"]:
        return ((latents - centre) @ direction - low) / extent

    return SearchMap(
        plies=[np.column_stack([placed(latents), costs]) for latents, costs in held],
        num_nodes=counts,
        path=placed(path),
        goals=placed(goals),
        explained=explained,
    )


def _main_direction(centred: Float[np.ndarray, "points D"]) -> tuple[Float[np.ndarray, " D"], float]:
    """Returns the direction in which points differ most, and its share of their variance.

    By the eigenvectors of whichever product is smaller, which takes a fraction of the time of all singular vectors.
    """
    is_wide = centred.shape[0] < centred.shape[1]
    variances, vectors = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    direction = centred.T @ vectors[:, -1] if is_wide else vectors[:, -1]
    return direction / max(float(np.linalg.norm(direction)), 1e-12), float(variances[-1] / max(variances.sum(), 1e-12))
