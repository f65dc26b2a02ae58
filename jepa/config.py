"""One experiment as one frozen dataclass: built by a Python file, changed by flags, kept as JSON.

Structure (which environment, encoder, planner) is chosen in a config file by importing another class; numbers may be
changed on the command line. A run keeps its resolved experiment as JSON, from which nothing but dataclasses of this
package are rebuilt: reading somebody's run executes none of their code.
"""

import dataclasses
import dis
import importlib
import math
import os
import runpy
import sys
import traceback
import typing
from pathlib import Path
from typing import Annotated, Any

import tyro

from jepa.agents.base import Agent
from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import Behaviour, NonBacktrackingWalks
from jepa.envs.base import Env
from jepa.evaluation import Evaluation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that determines a result, apart from versions and hardware."""

    env: Env
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


def load_config(path: Path | str) -> Experiment:
    """Runs a config file and returns its `config`; it may import others of its folder, as `import pocket_cube`.

    Raises:
      ValueError: there is no such file, it is no Python or fails, or it defines no `config` of the right type.
    """
    path = Path(path)
    if not path.is_file():
        known = sorted(str(other) for other in Path("configs").glob("*.py"))
        hint = f"; there are: {', '.join(known)}" if known else ""
        raise ValueError(f"expected a config file, but {path} does not exist{hint}")
    modules, folder = set(sys.modules), path.resolve().parent
    sys.path.append(str(folder))
    try:
        config = runpy.run_path(str(path)).get("config")
    except Exception as error:  # A config is any Python: it can fail with anything. What is not its fault goes on.
        if (place := _place_in(path, error)) is None:
            raise
        raise ValueError(f"{place}: {type(error).__name__}: {getattr(error, 'msg', error)}") from error
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - modules:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent == folder:
                del sys.modules[name]  # So that a config of the same name in another folder is not taken for it.
    if not isinstance(config, Experiment):
        raise ValueError(f"{path} must define `config = Experiment(...)`; its `config` is {type(config).__name__}")
    try:
        return from_json(to_json(config))  # What a run keeps: a value of a wrong type shows now, not when it is used.
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _place_in(path: Path, error: Exception) -> str | None:
    """Returns the line of a config (or of one beside it) that is to blame for an error; None if none is."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or str(path), error.lineno or 1))
    places = [place for place in places if not place[0].startswith("<")]  # Python's own, such as <frozen importlib>.
    own = [place for place in places if Path(place[0]).resolve().parent == path.resolve().parent]
    if not own or (own[-1] is not places[-1] and not is_refusal(error)):
        return None
    return f"{os.path.relpath(own[-1][0])}, line {own[-1][1]}"


def is_refusal(error: BaseException) -> bool:
    """Whether an error is a `raise ValueError` of this package: then its message is written for the user.

    A ValueError from elsewhere, such as of two shapes that do not fit, is a bug and deserves its traceback. JAX
    takes its own frames out of tracebacks, so it matters that the last one stands at a `raise`.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not isinstance(error, ValueError):
        return False
    is_ours = str(last.tb_frame.f_globals.get("__name__", "")).split(".")[0] == __package__
    return is_ours and last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


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
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the numbers of an experiment must be finite; got {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"an experiment may hold numbers, strings, paths and dataclasses; got {type(value).__name__}")


def from_json(content: Any) -> Any:
    """Rebuilds what `to_json` wrote; only frozen dataclasses below `jepa` are ever looked up.

    Raises:
      ValueError: the content names anything else, or fields that the class does not have, or lacks one of its fields
        (but those of `types.added_later`).
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
    before = {field.name: field.metadata["before"] for field in dataclasses.fields(cls) if "before" in field.metadata}
    content = {key: to_json(value) for key, value in before.items()} | content
    known = {field.name for field in dataclasses.fields(cls)}
    given = set(content) - {"class"}
    if given != known:
        raise ValueError(f"{name} has no {sorted(given - known)} and needs {sorted(known - given)}")
    values = {field: _typed(cls, field, from_json(value)) for field, value in content.items() if field != "class"}
    try:
        return cls(**values)
    except (TypeError, ArithmeticError, LookupError, MemoryError) as error:  # An abstract class, or absurd numbers.
        raise ValueError(f"{name} cannot be built: {type(error).__name__}: {error}") from error


def _typed(cls: type, field: str, value: Any) -> Any:
    """Returns a field's value as declared: a path where JSON has its string, a float where it has a whole number.

    Raises:
      ValueError: the value is not of the declared type.
    """
    declared = typing.get_type_hints(cls)[field]
    if isinstance(value, str) and declared in (Path, Path | None):
        return Path(value)
    if type(value) is int and declared is float:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field} of {cls.__name__} must be finite; got {value}")
    try:
        is_of_type = isinstance(value, declared) and (declared is bool or not isinstance(value, bool))
    except TypeError as error:  # Types of other dataclasses, which cannot be checked like this.
        raise ValueError(f"{cls.__name__} is no part of an experiment") from error
    if not is_of_type:
        expected = getattr(declared, "__name__", declared)
        raise ValueError(f"{field} of {cls.__name__} must be of type {expected}; got {value!r}")
    return value


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
        states_per_walk=4,
        num_walks=16,
        num_transitions=4 * experiment.behaviour.walk_length,
        num_problems=4,
        width=8,
        hidden_width=16,
        num_simulations=16,
    )


def shrink(value: Any, **sizes: int) -> Any:
    """Returns an experiment in which no field with one of the names exceeds the given value, at any depth."""
    if not dataclasses.is_dataclass(value):
        return value
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    changes = {name: min(old, sizes[name]) if name in sizes else shrink(old, **sizes) for name, old in fields.items()}
    return dataclasses.replace(value, **changes)
