"""One experiment as one frozen dataclass: built by a Python file, changed by flags, kept as JSON.

Structure (which environment, encoder, planner) is chosen in a config file by importing another class; numbers may be
changed on the command line. A run keeps its resolved experiment as JSON, from which nothing but dataclasses of this
package are rebuilt: reading somebody's run executes none of their code.
"""

import dataclasses
import enum
import importlib
import runpy
from pathlib import Path
from typing import Annotated, Any

import tyro

from jepa.agents.base import Agent
from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import Behaviour, NonBacktrackingWalks
from jepa.envs.base import Env
from jepa.envs.pocket_cube import PocketCube
from jepa.evaluation import Evaluation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that determines a result, apart from versions and hardware."""

    env: Env = PocketCube()
    """The reasoning domain."""
    behaviour: Behaviour = NonBacktrackingWalks()
    """Who made the recorded moves."""
    num_transitions: int = 14_000
    """Recorded moves that the method may learn from."""
    agent: Annotated[Agent, tyro.conf.arg(name="")] = LatentPlanner()
    """The method."""
    evaluation: Annotated[Evaluation, tyro.conf.arg(name="")] = Evaluation()
    """The problems on which it is graded."""
    seed: int = 0
    """Determines the recorded moves, the initial parameters and all batches; never the test problems."""


def load_config(path: Path) -> Experiment:
    """Runs a config file and returns its `config`.

    Raises:
      ValueError: there is no such file, or it defines no `config` of the right type.
    """
    if not path.is_file():
        known = sorted(str(other) for other in Path("configs").glob("*.py"))
        hint = f"; there are: {', '.join(known)}" if known else ""
        raise ValueError(f"expected a config file, but {path} does not exist{hint}")
    config = runpy.run_path(str(path)).get("config")
    if not isinstance(config, Experiment):
        raise ValueError(f"{path} must define `config = Experiment(...)`; its `config` is {type(config).__name__}")
    return config


def to_json(value: Any) -> Any:
    """Returns a value of an experiment as JSON types; a dataclass names its class.

    Raises:
      ValueError: a dataclass is not one of this package, so that it could not be read back.
    """
    if dataclasses.is_dataclass(value):
        cls = type(value)
        if not cls.__module__.startswith("jepa."):
            raise ValueError(
                f"{cls.__qualname__} is defined in {cls.__module__}; a run can only keep classes of the package "
                f"jepa. Move it into a file there, such as jepa/envs/my_domain.py, and import it in the config"
            )
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{cls.__module__}.{cls.__qualname__}"} | fields
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"an experiment may hold numbers, strings, paths and dataclasses; got {type(value).__name__}")


def from_json(content: Any) -> Any:
    """Rebuilds what `to_json` wrote; only frozen dataclasses below `jepa` are ever looked up.

    Raises:
      ValueError: the content names anything else, or fields that the class does not have.
    """
    if not isinstance(content, dict):
        return content
    name = content.get("class")
    module_name, _, class_name = str(name).rpartition(".")
    if not (module_name.startswith("jepa.") and class_name.isidentifier()):
        raise ValueError(f"expected the name of a class of this package, such as jepa.config.Experiment; got {name!r}")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"this version of the package has no {name}") from error
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"{name} is not a dataclass of an experiment")
    known = {field.name for field in dataclasses.fields(cls)}
    given = set(content) - {"class"}
    if given != known:
        raise ValueError(f"{name} has the fields {sorted(known)}; got {sorted(given)}")
    values = {field: from_json(value) for field, value in content.items() if field != "class"}
    return cls(**{field: _path_if_declared(cls, field, value) for field, value in values.items()})


def _path_if_declared(cls: type, field: str, value: Any) -> Any:
    annotation = cls.__dataclass_fields__[field].type
    return Path(value) if isinstance(value, str) and "Path" in str(annotation) else value


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, str]:
    """Returns which fields of two experiments differ, as flag to "old -> new"."""
    if type(old) is not type(new) or not dataclasses.is_dataclass(old):
        return {} if old == new else {prefix: f"{_shown(old)} -> {_shown(new)}"}
    found = {}
    for field in dataclasses.fields(old):
        flat = field.name in ("agent", "evaluation")
        name = prefix if flat else f"{prefix}.{field.name}".lstrip(".")
        found |= differences(getattr(old, field.name), getattr(new, field.name), name)
    return found


def _shown(value: Any) -> str:
    return type(value).__name__ if dataclasses.is_dataclass(value) else str(value)


def debug(experiment: Experiment) -> Experiment:
    """Shrinks any experiment to a few updates and problems, with everything else as it is."""
    return shrink(
        experiment,
        num_updates=4,
        updates_per_call=2,
        batch_size=64,
        num_walks=8,
        num_transitions=4 * experiment.behaviour.walk_length,
        num_problems=4,
        width=8,
        hidden_width=16,
    )


def shrink(value: Any, **sizes: int) -> Any:
    """Returns an experiment in which every field with one of the names has the given value, at any depth."""
    if not dataclasses.is_dataclass(value) or isinstance(value, enum.Enum):
        return value
    changes = {
        field.name: sizes.get(field.name, shrink(getattr(value, field.name), **sizes))
        for field in dataclasses.fields(value)
    }
    return dataclasses.replace(value, **changes)
