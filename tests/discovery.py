"""Finds every class of a family, so that a contract test covers a new file without being touched."""

import contextlib
import importlib
import inspect
import pkgutil
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

EXTRAS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@contextlib.contextmanager
def skip_without_extra() -> Iterator[None]:
    """Skips the test when what is built in this context needs a package of an extra that is not installed."""
    try:
        yield
    except ValueError as error:
        cause = error
        while cause is not None and not isinstance(cause, ModuleNotFoundError):
            cause = cause.__cause__
        if cause is None or cause.name not in EXTRAS:
            raise
        pytest.skip(str(error))


def discover(base: type, package: types.ModuleType) -> list[type]:
    """Returns the concrete subclasses of an interface that a package defines, each once, by name."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    found, waiting = set(), [base]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if cls.__module__.startswith(f"{package.__name__}.") and not inspect.isabstract(cls):
            found.add(cls)
    return sorted(found, key=lambda cls: cls.__name__)
