"""Cells in one file, a line each: all that a report is made of, small enough to be kept and put together again.

A run folder has checkpoints and every plan; a line has the summary, and of every problem whether it was solved and by
how many moves. A report that is made of it is the same.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepa.comparison.folders import Results, require_curve, require_figures
from jepa.run_log import read_jsonl

ARCHIVE = "cells.jsonl"
"""Name of the file."""
UNKNOWN = "?"
"""Method and domain of a cell whose cell.json cannot be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What is known of one cell."""

    name: str
    """Such as `pocket_cube/14000/seed0`."""
    method: str
    """Row of a table."""
    domain: str
    """Column of a table, together with the budget."""
    num_transitions: int
    """The budget that was asked for."""
    seed: int
    """Seed of training."""
    status: str
    """Whether it is finished, and what it is otherwise."""
    reason: str
    """Why it is not finished; empty if nothing is wrong."""
    jobs: int
    """Cells that ran at the same time on its machine, at most; 0 if unknown."""
    results: Results | None
    """What it has to show; None unless it is finished."""

    @property
    def config(self) -> str:
        """Name of its config."""
        return self.name.split("/", 1)[0]


def archive(results: Sequence[Result]) -> str:
    """Returns the lines of all cells."""
    return "".join(json.dumps(_to_json(result), separators=(",", ":"), allow_nan=False) + "\n" for result in results)


def _to_json(result: Result) -> dict[str, Any]:
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(Result)}
    fields["method"] = _own_name(result)
    if (found := result.results) is not None:
        curve = found.curve and {name: found.curve[name] for name in ("num_problems", "search", "samples")}
        fields["results"] = {
            "summary": found.summary,
            "solved": "".join("01"[one] for one in found.solved.astype(int)),
            "plan_lengths": found.plan_lengths.tolist(),
            "optimal_lengths": [None if math.isnan(length) else int(length) for length in found.optimal_lengths],
            "problems_sha256": found.problems_sha256,
            "curve": curve,
        }
    return fields


def _own_name(result: Result) -> str:
    """Returns the method without the config that tells its row from others, which another report may not need."""
    method, _, config = result.method.removesuffix(")").rpartition(" (")
    return method if config and result.config.endswith(config) else result.method


def read_archive(path: Path) -> list[Result]:
    """Reads the lines of all cells.

    Raises:
      ValueError: the file cannot be read, or a line is damaged or of another version.
    """
    try:
        rows = read_jsonl(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return [_from_json(row, f"{path}, cell {number}") for number, row in enumerate(rows, start=1)]


def _from_json(row: dict[str, Any], where: str) -> Result:
    types = {field.name: field.type for field in dataclasses.fields(Result) if field.name != "results"}
    wrong = sorted(row.keys() ^ types.keys() ^ {"results"})
    wrong = wrong or [name for name, kind in types.items() if not isinstance(row[name], kind)]
    try:
        if wrong or row["name"].count("/") != 2:
            raise ValueError(f"see {', '.join(wrong) or 'name'}")
        return Result(**(row | {"results": row["results"] and _results(row["results"])}))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where} is damaged or of another version: {error}") from error


def _results(content: dict[str, Any]) -> Results:
    summary, curve = content["summary"], content["curve"]
    require_figures(summary)
    if curve is not None:
        require_curve(curve)
    solved, plan_lengths, optimal = content["solved"], content["plan_lengths"], content["optimal_lengths"]
    if not len(solved) == len(plan_lengths) == len(optimal) == summary["num_problems"]:
        raise ValueError("problems are missing")
    return Results(
        summary=summary,
        solved=np.array([{"0": False, "1": True}[one] for one in solved], bool),
        plan_lengths=np.array(plan_lengths, int),
        optimal_lengths=np.array([math.nan if length is None else length for length in optimal], float),
        problems_sha256=str(content["problems_sha256"]),
        curve=curve,
    )
