"""Success against test-time compute, over seeds: more and less search, and what sampled plans are worth."""

import dataclasses
import math

import numpy as np

from jepa.comparison.folders import SAMPLE_FIGURES
from jepa.comparison.tables import Column, Estimate, Group, Table, estimated_share


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """A method with one size of its search."""

    scale: float
    """Size of the search as a multiple of its config's own."""
    nodes: float
    """Mean nodes per problem."""
    success: Estimate
    """Share of problems solved, with the interval over seeds and problems."""
    num_seeds: int
    """Seeds that were graded with it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampled:
    """What k sampled plans of a method are worth: means over seeds."""

    k: int
    """Plans per problem."""
    nodes: float
    """Mean nodes of all of them together."""
    passed: float
    """Share of problems with a right plan among them: an oracle picks it."""
    reranked: float
    """Share of problems where the plan of the best learned score is right."""
    consensus: float
    """Share of problems where the most frequent plan is right."""
    temperatures: tuple[float, ...]
    """At which they were sampled: different ones of the seeds."""
    num_seeds: int
    """Seeds for which plans were sampled."""


def search_points(group: Group) -> list[Point]:
    """Returns a method's points in the order of their size, that of its config included."""
    found: dict[float, list[tuple[float, list[int]]]] = {}
    for result in group.finished:
        nodes = result.results.summary.get("mean_nodes_generated")
        points = {1.0: (math.nan if nodes is None else nodes, result.results.solved.astype(int).tolist())}
        for point in (result.results.curve or {"search": []})["search"]:
            if len(point["solved"]) == len(result.results.solved):
                points.setdefault(float(point["scale"]), (point["mean_nodes_generated"], point["solved"]))
        for scale, point in points.items():
            found.setdefault(scale, []).append(point)
    return [_point(scale, found[scale]) for scale in sorted(found)]


def _point(scale: float, seeds: list[tuple[float, list[int]]]) -> Point:
    nodes = float(np.mean([nodes for nodes, _ in seeds]))
    success = estimated_share(np.array([one for _, one in seeds], bool))
    return Point(scale=scale, nodes=nodes, success=success, num_seeds=len(seeds))


def sampled_plans(group: Group) -> list[Sampled]:
    """Returns what sampled plans are worth, for each k that all seeds with samples have; nothing without samples."""
    curves = [result.results.curve for result in group.finished if result.results.curve]
    samples = [curve["samples"] for curve in curves if curve["samples"]]
    if not samples:
        return []
    rows, temperatures = [], tuple(sorted({float(one["temperature"]) for one in samples}))
    for k in sorted(set.intersection(*(set(one["k"]) for one in samples))):
        passed, reranked, consensus = (
            float(np.mean([one[name][one["k"].index(k)] for one in samples])) for name in SAMPLE_FIGURES
        )
        nodes = k * float(np.mean([one["mean_nodes_per_sample"] for one in samples]))
        shares = dict(passed=passed, reranked=reranked, consensus=consensus)
        rows.append(Sampled(k=k, nodes=nodes, **shares, temperatures=temperatures, num_seeds=len(samples)))
    return rows


def groups_of(table: Table) -> list[tuple[Column, str, Group]]:
    """Returns the groups of a table that have something to show, column by column."""
    places = [(column, method) for column in table.columns for method in table.methods]
    found = [(column, method, table.groups.get((method, column))) for column, method in places]
    return [(column, method, group) for column, method, group in found if group is not None and group.finished]
