"""The folder of a cell: what was asked for, how it went, and its results.

<output>/<config>/<transitions>/seed<k>/
cell.json     what was asked for and how it went
log.txt       what the commands printed
...           the run folder, as `train.py` and `eval.py` leave it
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jepa.comparison.cells import Cell
from jepa.config import Experiment, differences, from_json, to_json
from jepa.run_log import read_jsonl, write_json_atomic
from jepa.runs import changed_training, read_config

WAITING, RUNNING, INTERRUPTED, FAILED, FINISHED = "waiting", "running", "interrupted", "failed", "finished"
"""What cell.json says of a cell."""
DAMAGED, CHANGED = "damaged", "changed"
"""What else is found when a cell is looked at: files that do not fit each other, or another config than today's."""


SAMPLE_FIGURES = ("pass_at_k_oracle", "rerank_at_k", "consensus_at_k")
"""What curve.json says of sampled plans, for each k."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What cell.json says of a cell."""

    config: str
    """Config file."""
    method: str
    """Name of the method: the class of its agent."""
    domain: str
    """Name of the domain, with its sizes."""
    num_transitions: int
    """The budget that was asked for."""
    seed: int
    """Seed of training."""
    experiment: dict
    """The whole experiment as JSON."""
    commands: list
    """What is run, as one would type it."""
    jobs: int
    """Cells that were running at the same time on its machine, at most."""
    status: str = WAITING
    """How far it has come."""
    error: str = ""
    """The last lines of a cell that failed."""
    seconds: float = 0.0
    """Time over all attempts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """What a finished cell has to show."""

    summary: dict[str, Any]
    """All of summary.json."""
    solved: Bool[np.ndarray, " problems"]
    """Whether each problem was solved."""
    plan_lengths: Int[np.ndarray, " problems"]
    """Moves of each plan, right or wrong."""
    optimal_lengths: Float[np.ndarray, " problems"]
    """Least number of moves; NaN where it is unknown."""
    problems_sha256: str
    """Digest of all starts and goals, in order."""
    curve: dict[str, Any] | None
    """All of curve.json; None where there is none."""


def new_entry(cell: Cell) -> Entry:
    """Returns what cell.json says before anything has run."""
    return Entry(
        config=str(cell.config),
        method=type(cell.experiment.agent).__name__,
        domain=cell.experiment.env.name,
        num_transitions=cell.num_transitions,
        seed=cell.experiment.seed,
        experiment=to_json(cell.experiment),
        commands=[" ".join(words) for words in cell.commands],
        jobs=cell.jobs,
    )


def write_entry(folder: Path, entry: Entry) -> None:
    """Writes cell.json; it is never seen half-written."""
    write_json_atomic(folder / "cell.json", dataclasses.asdict(entry))


def read_entry(folder: Path) -> Entry:
    """Reads cell.json.

    Raises:
      ValueError: it is missing or damaged.
    """
    content = _read_object(folder / "cell.json")
    types = {field.name: field.type for field in dataclasses.fields(Entry)}
    wrong = sorted(types.keys() ^ content.keys()) or [
        name for name, value in content.items() if not isinstance(value, types[name])
    ]
    if wrong:
        raise ValueError(f"cell.json is damaged or of another version; see {', '.join(wrong)}")
    return Entry(**content)


def read_results(folder: Path, entry: Entry) -> Results:
    """Reads summary.json and records.jsonl of a finished cell.

    Raises:
      ValueError: one is missing or damaged, or they do not fit the cell or each other.
    """
    summary = _read_object(folder / "summary.json")
    # Its `num_transitions` are the moves that were seen, which may be fewer than the experiment allows.
    if summary.get("seed") != entry.seed:
        raise ValueError(f"summary.json must have seed {entry.seed}, came {summary.get('seed')}")
    if summary.get("config") != entry.experiment:
        raise ValueError("summary.json is of another experiment than cell.json")
    require_figures(summary)
    try:
        results = _results(summary, read_jsonl(folder / "records.jsonl"), _read_curve(folder, entry))
        is_same_grading = abs(results.solved.mean() - summary["solved_fraction"]) < 1e-9
    except OSError as error:
        raise ValueError(f"records.jsonl cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"summary.json or records.jsonl is damaged or of another version: {error!r}") from error
    if len(results.solved) != summary.get("num_problems") or not is_same_grading:
        raise ValueError("summary.json and records.jsonl are not of the same grading")
    return results


def require_figures(summary: dict[str, Any]) -> None:
    """Raises ValueError where tables could not show a summary: beside a few names it must hold numbers."""
    types = {"method": str, "domain": str, "config": dict, "provenance": dict}
    for name, value in summary.items():
        if not isinstance(value, types.get(name, int | float | None)):
            raise ValueError(f"summary.json is damaged or of another version: its {name} is a {type(value).__name__}")


def _read_curve(folder: Path, entry: Entry) -> dict[str, Any] | None:
    """Returns curve.json, if it is there and of the same experiment; what an earlier training left does not count."""
    if not (folder / "curve.json").exists():
        return None
    curve = _read_object(folder / "curve.json")
    if curve.get("config") != entry.experiment:
        return None
    require_curve(curve)
    return curve


def require_curve(curve: dict[str, Any]) -> None:
    """Raises ValueError where tables could not show more and less compute."""
    try:
        points, samples, _ = curve["search"], curve["samples"], int(curve["num_problems"])
        for point in points:
            float(point["scale"]), float(point["mean_nodes_generated"]), np.asarray(point["solved"], bool)
        for name in ("num_samples", "temperature", "mean_nodes_per_sample") if samples else ():
            float(samples[name])
        for name in SAMPLE_FIGURES if samples else ():
            np.asarray(samples[name], float).reshape(len(samples["k"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"curve.json is damaged or of another version: {error!r}") from error


def _results(summary: dict[str, Any], records: list[dict[str, Any]], curve: dict[str, Any] | None) -> Results:
    problems = json.dumps([[record["start"], record["goal"]] for record in records])
    return Results(
        summary=summary,
        solved=np.array([record["solved"] for record in records], bool),
        plan_lengths=np.array([len(record["actions"]) for record in records], int),
        optimal_lengths=np.array([record["optimal_length"] for record in records], float),  # None becomes NaN.
        problems_sha256=hashlib.sha256(problems.encode()).hexdigest(),
        curve=curve,
    )


def inspect(cell: Cell) -> tuple[str, str]:
    """Returns the status of a cell on disk, and the reason if it is not to be run without being asked for."""
    if not (cell.folder / "cell.json").exists():
        is_bare = (cell.folder / "summary.json").exists()
        return (DAMAGED, "there are results but no cell.json") if is_bare else (WAITING, "")
    try:
        entry = read_entry(cell.folder)
        if entry.status != WAITING and entry.experiment != to_json(cell.experiment):
            return CHANGED, _change(entry.experiment, cell.experiment)
        if entry.status == FINISHED and not _has_curve(cell, read_results(cell.folder, entry)):
            return INTERRUPTED, "it was not graded with as much and as little compute as is asked for now"
    except ValueError as error:
        return DAMAGED, str(error)
    return entry.status, entry.error


def _has_curve(cell: Cell, results: Results) -> bool:
    """Returns whether a cell was graded at all the compute that is asked for."""
    if cell.curve is None:
        return True
    if results.curve is None or results.curve["num_problems"] != len(results.solved):
        return False
    scales = {point["scale"] for point in results.curve["search"]}
    num_samples = (results.curve["samples"] or {"num_samples": 0})["num_samples"]
    return scales >= set(cell.curve.search_scales) and num_samples >= cell.curve.num_samples


def without_done(cell: Cell) -> Cell:
    """Returns a cell that leaves out training and grading if both are done, and only its compute was asked for anew."""
    try:
        read_results(cell.folder, read_entry(cell.folder))
    except ValueError:
        return cell
    return dataclasses.replace(cell, num_done=min(2, len(cell.commands) - 1))


def _change(old: dict, new: Experiment) -> str:
    try:
        changes = differences(from_json(old), new)
    except ValueError as error:
        return f"it was run with another version of the package: {error}"
    return f"it was run otherwise: {', '.join(f'{name}: {change}' for name, change in changes.items())}"


def make_room(cell: Cell) -> None:
    """Sets a folder aside, under another name, if `train.py` would refuse to continue what is in it."""
    if not any((cell.folder / name).exists() for name in ("summary.json", "checkpoints")):
        return
    try:
        if not changed_training(read_config(cell.folder), cell.experiment):
            return
    except ValueError:
        pass  # Nobody knows what was trained there.
    numbers = (number for number in range(1, 10_000) if not _aside(cell.folder, number).exists())
    cell.folder.rename(_aside(cell.folder, next(numbers)))


def _aside(folder: Path, number: int) -> Path:
    return folder.with_name(f"old{number}-{folder.name}")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged, it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is damaged, it holds a {type(content).__name__}")
    return content
