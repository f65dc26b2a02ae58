"""Packages that only a few domains need, each installed as the optional extra of its own name."""

import importlib
import types


def import_extra(name: str) -> types.ModuleType:
    """Imports such a package.

    Raises:
      ValueError: it is not installed, or cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f'this domain needs the package {name} ({error}); install it with: pip install -e ".[{name}]"'
        ) from error
