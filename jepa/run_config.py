"""What a run folder says of its experiment, and how another experiment differs from it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jepa.config import Experiment, differences, from_json
from jepa.evaluation import Evaluation

_TEST_PROBLEMS = {field.name for field in dataclasses.fields(Evaluation)}


def changed_training(old: Experiment, new: Experiment) -> dict[str, str]:
    """Returns the differences of two experiments without planner and test problems, which do not train.

    Test problems are the fields of `Evaluation` and those that a domain declares as `Env.test_fields`; what belongs to
    planning an agent declares as `Agent.grading_fields`.
    """
    free = _TEST_PROBLEMS | new.agent.grading_fields | {f"env.{field}" for field in new.env.test_fields}
    return {name: change for name, change in differences(old, new).items() if not free & {name, name.split(".")[0]}}


def listed(changed: Mapping[str, str]) -> str:
    """Returns differences as lines of flags."""
    return "\n".join(f"  --{name.replace('_', '-')}: {change}" for name, change in changed.items())


def read_json(path: Path) -> Any:
    """Returns what a JSON file of a run holds.

    Raises:
      ValueError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}") from error


def read_config(folder: Path) -> Experiment:
    """Returns the experiment of a run folder.

    Raises:
      ValueError: the folder holds no run, or its config.json is damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"expected a run folder, but there is no {path}; train one with `python train.py CONFIG`")
    content = read_json(path)
    try:
        experiment = from_json(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path} is damaged: it holds a {type(experiment).__name__}, not an Experiment")
    return experiment
