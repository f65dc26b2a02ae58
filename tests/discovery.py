"""Finds every class of a family, so that a contract test covers a new file without being touched."""

import importlib
import inspect
import pkgutil
import types


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
