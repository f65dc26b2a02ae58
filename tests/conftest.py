"""What every test runs under: the CPU, run-time checks of every annotation of `jepa`, and programs compiled quickly.

All of it must be set up before anything imports jax or jepa, which is why imports come late in this file.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import contextlib
import dataclasses
import functools
import gc
import importlib

import jax
import jaxtyping
import pytest
from jax.experimental.compilation_cache import compilation_cache

_register_dataclass = jax.tree_util.register_dataclass


def _register_dataclass_rebuilt_unchecked(nodetype, *args, **kwargs):
    """Registers a pytree of ours so that JAX rebuilds it with the plain constructor, not the checked one.

    Our own constructor calls stay checked. JAX also rebuilds a pytree with leaves other than it declares:
    shapes in `eval_shape`, axis numbers in `vmap`, arrays that gained or lost an axis, sentinels.
    """
    if args or kwargs or not nodetype.__module__.startswith("jepa."):
        return _register_dataclass(nodetype, *args, **kwargs)
    constructor = nodetype.__init__
    static = [f.name for f in dataclasses.fields(nodetype) if f.init and f.metadata.get("static")]
    data = [f.name for f in dataclasses.fields(nodetype) if f.init and f.name not in static]

    def values(node, names):
        return tuple(getattr(node, name) for name in names)

    def flatten_with_keys(node):
        keys = [jax.tree_util.GetAttrKey(name) for name in data]
        return tuple(zip(keys, values(node, data), strict=True)), values(node, static)

    def flatten(node):
        return values(node, data), values(node, static)

    def unflatten(static_values, leaves):
        node = object.__new__(nodetype)
        constructor(node, **dict(zip(data, leaves, strict=True)), **dict(zip(static, static_values, strict=True)))
        return node

    jax.tree_util.register_pytree_with_keys(nodetype, flatten_with_keys, unflatten, flatten)
    return nodetype


jax.tree_util.register_dataclass = _register_dataclass_rebuilt_unchecked
jaxtyping.install_import_hook("jepa", "beartype.beartype")
from jepa.comparison.quick import quick_compilation  # noqa: E402 - checked as everything of jepa is

# What JAX keeps of every program makes collections long; at the usual thresholds they took 7 % of all time.
gc.set_threshold(10_000, 20, 50)

# Of the time in which JAX writes down programs, 40 % went into a context for each; one is enough for all.
with contextlib.suppress(ImportError, AttributeError):  # It is no part of JAX's interface.
    mlir = importlib.import_module("jax._src.interpreters.mlir")
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)

# Most programs hardly compute. From the start, because a program is compiled once, and modules compute when imported.
jax.config.update("jax_disable_most_optimizations", True)
os.environ.update(quick_compilation(os.environ))  # Processes that tests start inherit it.


@pytest.fixture(autouse=True, scope="session")
def compiled_programs(tmp_path_factory):
    """Compiles every program once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # Writing takes a while, too.
    compilation_cache.reset_cache()  # Whether there is one is decided at the first compilation.


@pytest.fixture(autouse=True)
def quick_compilation():
    """Without optimisation again, whatever a program under test has changed about it, such as the demo."""
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory):
    """Keeps distance tables that tests build out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("JEPA_CACHE_DIR", str(folder))
        yield folder
