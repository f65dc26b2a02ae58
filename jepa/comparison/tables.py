"""Results to numbers with intervals: methods by domains, aggregates over domains, and who beats whom."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from jepa.comparison.archive import UNKNOWN, Result
from jepa.metrics import (
    interquartile_mean,
    stratified_bootstrap_interval,
    two_way_bootstrap_interval,
    wilson_interval,
)
from jepa.statistics import optimality_gap, probability_of_improvement, probability_of_improvement_interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    """The estimate."""
    low: float
    """Lower end; NaN where there are too few seeds for an interval."""
    high: float
    """Upper end."""


def estimated_share(solved: Bool[np.ndarray, "seeds problems"]) -> Estimate:
    """Returns the share that is solved, with the interval of a bootstrap that draws seeds and problems anew.

    Where all seeds solve all problems, or none any, there is nothing to draw, and a bootstrap would be certain: the
    interval is Wilson's for as many problems.
    """
    if solved.all() or not solved.any():
        num_problems = solved.shape[1]
        low, high = wilson_interval(num_problems if solved.all() else 0, num_problems)
    else:
        low, high = two_way_bootstrap_interval(solved.astype(float), np.mean)
    return Estimate(value=float(solved.mean()), low=low, high=high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A domain with a budget."""

    domain: str
    """Name of the domain."""
    num_transitions: int
    """Recorded moves that methods may learn from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """All seeds of one method on one domain with one budget."""

    results: tuple[Result, ...]
    """Finished or not, by seed."""

    @functools.cached_property
    def finished(self) -> list[Result]:
        """Those that have something to show."""
        return [result for result in self.results if result.results is not None]

    @functools.cached_property
    def success(self) -> Estimate | None:
        """Share of problems solved, with the interval over seeds and problems; None without a finished cell."""
        if not self.finished:
            return None
        return estimated_share(np.stack([result.results.solved for result in self.finished]))

    @functools.cached_property
    def strict_success(self) -> Estimate | None:
        """Share of problems solved by a shortest plan, as `success`; of those whose shortest plan is known alone.

        None without a finished cell, or where not all seeds know the shortest plans of the same problems.
        """
        known = [np.isfinite(result.results.optimal_lengths) for result in self.finished]
        if not known or not known[0].any() or any((other != known[0]).any() for other in known):
            return None
        found = [result.results for result in self.finished]
        strict = np.stack([one.solved & (one.plan_lengths == one.optimal_lengths) for one in found])
        return estimated_share(strict[:, known[0]])

    @property
    def rates(self) -> Float[np.ndarray, " seeds"]:
        """Share of problems solved by each finished seed: the score of a run."""
        return np.array([result.results.solved.mean() for result in self.finished])

    @functools.cached_property
    def lengths(self) -> tuple[float, float]:
        """Mean moves of right plans, and of the shortest ones for the same problems; NaN where unknown.

        Problems whose shortest plan is unknown count only if it is unknown for all.
        """
        found = [result.results for result in self.finished]
        moves = np.concatenate([one.plan_lengths[one.solved] for one in found]) if found else np.zeros(0)
        optimal = np.concatenate([one.optimal_lengths[one.solved] for one in found]) if found else np.zeros(0)
        known = np.isfinite(optimal)
        if known.any():
            return float(moves[known].mean()), float(optimal[known].mean())
        return (float(moves.mean()) if moves.size else math.nan), math.nan

    def mean(self, field: str) -> float:
        """Returns the mean over seeds of a number in summary.json; NaN if no seed has it."""
        values = [result.results.summary.get(field) for result in self.finished]
        values = [value for value in values if value is not None]
        return float(np.mean(values)) if values else math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A method over all columns of a table."""

    iqm: Estimate
    """Interquartile mean of the scores of its runs."""
    gap: float
    """How far its runs fall short of solving everything, on average."""
    num_seeds: int
    """Seeds that are finished in all columns; the others do not count."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Improvement:
    """How often one method beats another."""

    better: str
    """The method that is asked about."""
    worse: str
    """The one that it is compared with."""
    probability: Estimate
    """That a run of the first beats a run of the second on the same domain."""
    num_columns: int
    """Domains and budgets where both have results."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Methods by domains."""

    title: str
    """What the columns have in common."""
    methods: tuple[str, ...]
    """Rows: those with results in the most columns first, and of these the one that solves most."""
    columns: tuple[Column, ...]
    """Columns."""
    groups: Mapping[tuple[str, Column], Group]
    """By method and column; missing where nothing was planned."""

    def success(self, method: str, column: Column) -> Estimate | None:
        """Returns the success of a method; None if it has no result there."""
        group = self.groups.get((method, column))
        return group.success if group else None

    def best(self, column: Column) -> set[str]:
        """Returns the best method with all those whose interval overlaps its own; none if there is no other."""
        found = {method: self.success(method, column) for method in self.methods}
        found = {method: estimate for method, estimate in found.items() if estimate is not None}
        if len(found) < 2:
            return set()
        best = max(found.values(), key=lambda estimate: estimate.value)
        return {method for method, one in found.items() if one.high >= best.low and one.low <= best.high}

    @functools.cached_property
    def aggregates(self) -> dict[str, Aggregate | None]:
        """What each method reaches over several columns; None unless it has a seed that is finished in all."""
        return {method: self._aggregate(method) for method in self.methods}

    def _aggregate(self, method: str) -> Aggregate | None:
        groups = [self.groups.get((method, column)) for column in self.columns]
        if len(groups) < 2 or None in groups:
            return None
        rates = [dict(zip((result.seed for result in one.finished), one.rates, strict=True)) for one in groups]
        seeds = sorted(set.intersection(*(set(one) for one in rates)))
        if not seeds:
            return None
        scores = np.array([[one[seed] for one in rates] for seed in seeds])
        low, high = math.nan, math.nan
        if len(seeds) > 1:  # One seed says nothing of others.
            low, high = stratified_bootstrap_interval(scores, interquartile_mean)
        iqm = Estimate(value=interquartile_mean(scores), low=low, high=high)
        return Aggregate(iqm=iqm, gap=optimality_gap(scores), num_seeds=len(seeds))

    @functools.cached_property
    def improvements(self) -> list[Improvement]:
        """All pairs of methods with common columns, the one that wins more often first."""
        pairs = [(x, y) for index, x in enumerate(self.methods) for y in self.methods[index + 1 :]]
        found = [self._improvement(x, y) for x, y in pairs]
        return [one for one in found if one is not None]

    def _improvement(self, x: str, y: str) -> Improvement | None:
        columns = [column for column in self.columns if self.success(x, column) and self.success(y, column)]
        if not columns:
            return None
        scores = {method: [self.groups[method, column].rates for column in columns] for method in (x, y)}
        if probability_of_improvement(scores[x], scores[y]) < 0.5:
            x, y = y, x
        low, high = math.nan, math.nan
        if all(len(rates) > 1 for side in scores.values() for rates in side):
            low, high = probability_of_improvement_interval(scores[x], scores[y])
        value = probability_of_improvement(scores[x], scores[y])
        probability = Estimate(value=value, low=low, high=high)
        return Improvement(better=x, worse=y, probability=probability, num_columns=len(columns))


def _rank(method: str, groups: Mapping[tuple[str, Column], Group]) -> tuple[int, float, str]:
    """Returns a key that sorts methods: by results in how many columns, then by how much they solve there on average.

    One that was tried on easy domains alone does not stand above one that was tried on all.
    """
    found = [group.success.value for (other, _), group in groups.items() if other == method and group.success]
    return -len(found), -float(np.mean(found)) if found else 0.0, method


def make_tables(results: Sequence[Result]) -> list[Table]:
    """Returns one table per budget, or a single one where every domain has a single budget of its own."""
    groups: dict[tuple[str, Column], list[Result]] = {}
    for result in results:
        if result.domain == UNKNOWN:
            continue  # Named among the cells without results.
        column = Column(domain=result.domain, num_transitions=result.num_transitions)
        groups.setdefault((result.method, column), []).append(result)
    columns = sorted({column for _, column in groups}, key=lambda one: (one.domain, one.num_transitions))
    budgets = sorted({column.num_transitions for column in columns})
    has_several = len(columns) > len({column.domain for column in columns})
    if has_several or len(budgets) == 1:
        parts = [[column for column in columns if column.num_transitions == budget] for budget in budgets]
        titles = [f"{budget:,} transitions" for budget in budgets]
    else:
        parts, titles = [columns], ["transitions as in the head of each column"]
    return [_table(title, part, groups) for title, part in zip(titles, parts, strict=True)]


def methods_of(tables: Sequence[Table]) -> list[str]:
    """Returns the methods of all tables, in the order of the one with the most, and then of the others."""
    fullest_first = sorted(tables, key=lambda table: -len(table.groups))
    return list(dict.fromkeys(method for table in fullest_first for method in table.methods))


def budgets_of(tables: Sequence[Table]) -> dict[str, list[Column]]:
    """Returns the columns of each domain in all tables, the smallest budget first."""
    columns = {column for table in tables for column in table.columns}
    budgets: dict[str, list[Column]] = {}
    for column in sorted(columns, key=lambda one: (one.domain, one.num_transitions)):
        budgets.setdefault(column.domain, []).append(column)
    return budgets


def shares_by_transitions(
    tables: Sequence[Table], domain: str, share: Callable[[Group], Estimate | None]
) -> dict[str, dict[Column, Estimate]]:
    """Returns what each method reaches on a domain with each budget; methods and budgets that have something alone.

    Args:
      tables: All tables.
      domain: Name of the domain.
      share: What is asked of a group, such as its success.
    """
    groups = {place: group for table in tables for place, group in table.groups.items()}
    found: dict[str, dict[Column, Estimate]] = {}
    for method in methods_of(tables):
        for column in budgets_of(tables)[domain]:
            group = groups.get((method, column))
            if group and (estimate := share(group)):
                found.setdefault(method, {})[column] = estimate
    return found


SOLVED_SHARES: dict[str, Callable[[Group], Estimate | None]] = {
    "solved": lambda group: group.success,
    "solved strictly": lambda group: group.strict_success,
}
"""What is asked of groups by transitions, and its name."""


def _table(title: str, columns: Sequence[Column], groups: Mapping[tuple[str, Column], Sequence[Result]]) -> Table:
    inside = {key: Group(results=tuple(found)) for key, found in groups.items() if key[1] in columns}
    methods = sorted({method for method, _ in inside}, key=lambda method: _rank(method, inside))
    return Table(title=title, methods=tuple(methods), columns=tuple(columns), groups=inside)
