"""Counts the floating-point operations of matrix products in a JAX function, exactly, from its jaxpr.

XLA's own cost analysis counts the body of a loop once and mixes in elementwise work; here loops count as often as
they run (a `while` loop, whose number of rounds is not known, as often as the caller says) and nothing counts but
products of matrices, so a fraction of the matrix-product bound errs on the low side.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def matmul_operations(function: Callable, *arguments: Any, while_rounds: int = 1) -> int:
    """Returns 2 x (multiply-adds) of all dot products when the function runs on such arguments.

    Of the branches of a `cond` the most expensive counts.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr, while_rounds)


def _count(jaxpr: Any, while_rounds: int) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _dot_operations(equation)
            continue
        inner = [_count(sub, while_rounds) for sub in _subjaxprs(equation)]
        if equation.primitive.name == "scan":
            total += equation.params["length"] * sum(inner)
        elif equation.primitive.name == "while":
            total += while_rounds * sum(inner)
        elif equation.primitive.name == "cond":
            total += max(inner)
        else:
            total += sum(inner)
    return total


def _subjaxprs(equation: Any) -> list[Any]:
    found = []
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(item, "eqns"):
                found.append(item)
            elif hasattr(item, "jaxpr"):
                found.append(item.jaxpr)
    return found


def _dot_operations(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * int(np.prod(equation.outvars[0].aval.shape)) * math.prod(shape[axis] for axis in contracted)
