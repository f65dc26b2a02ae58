"""Terms in heap order: read, written and drawn; and the hash of their values that tells training from test terms."""

import functools
import itertools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jepa.envs.theories import CONSTANTS, THEORIES, Term, Theory, assignments

T = TypeVar("T")

OPERATION_FRACTION = 0.5
"""How many of the slots of a random term that could hold an operation do; the root always does."""


def encode_term(theory: Theory, max_depth: int, term: Term) -> Int[np.ndarray, " N"]:
    """Returns the tokens of a term.

    Raises:
      ValueError: the theory has no such symbol, or the term is too deep.
    """
    tokens = np.zeros(2**max_depth - 1, np.int32)
    numbers = {(symbol.name, symbol.arity): number for number, symbol in enumerate(theory.symbols, start=1)}

    waiting = [(term, 1)]
    while waiting:
        part, slot = waiting.pop()
        head, *arguments = (part,) if isinstance(part, str) else part
        if (head, len(arguments)) not in numbers:
            known = ", ".join(f"{name} of {arity}" for name, arity in numbers)
            raise ValueError(f"expected the symbols {known} arguments, came {head} of {len(arguments)}")
        if slot > len(tokens):
            raise ValueError(f"expected a term of at most {max_depth} levels, came {term}")
        tokens[slot - 1] = numbers[head, len(arguments)]
        waiting += [(argument, 2 * slot + side) for side, argument in enumerate(arguments)]
    return tokens


def decode_term(theory: Theory, tokens: Int[np.ndarray, " N"]) -> Term:
    """Returns the term of well-formed tokens."""
    subterms: dict[int, Term] = {}
    for slot, token in reversed(list(enumerate(tokens.tolist(), start=1))):
        if token:
            symbol = theory.symbols[token - 1]
            arguments = [subterms[2 * slot + side] for side in range(symbol.arity)]
            subterms[slot] = (symbol.name, *arguments) if arguments else symbol.name
    return subterms[1]


def malformed_reason(theory: Theory, tokens: Int[np.ndarray, " N"]) -> str | None:
    """Says what keeps tokens from being a term; None if they are one."""
    last = len(theory.symbols)
    if tokens.min() < 0 or tokens.max() > last:
        return f"expected tokens in 0..{last}, came {tokens.min()}..{tokens.max()}"
    if tokens[0] == 0:
        return "the root, slot 1, is empty"
    names = ["nothing", *(symbol.name for symbol in theory.symbols)]
    arities = [0, *(symbol.arity for symbol in theory.symbols)]
    for slot, token in enumerate(tokens.tolist(), start=1):
        for side, child in enumerate((2 * slot, 2 * slot + 1)):
            is_filled, is_argument = child <= len(tokens) and tokens[child - 1] > 0, side < arities[token]
            if is_argument and not is_filled:
                return f"slot {slot} holds {names[token]}, but its argument at slot {child} is missing"
            if is_filled and not is_argument:
                came = names[int(tokens[child - 1])]
                return f"slot {child} holds {came}, but {names[token]} at slot {slot} has no argument there"
    return None


def random_term(theory: Theory, max_depth: int, key: Key[Array, ""]) -> Int[Array, " N"]:
    """Draws a term.

    Binary operations are twice as frequent as unary ones, and a, b, c twice as frequent as the theory's own constants,
    with which there is less to prove.
    """
    arities = np.array([0, *(symbol.arity for symbol in theory.symbols)])
    leaf_weights = np.array([0, *((1 + (symbol.name in CONSTANTS)) * (symbol.arity == 0) for symbol in theory.symbols)])
    num_slots = 2**max_depth - 1
    kinds, operations, leaves = jax.random.uniform(key, (3, num_slots))
    has_operation = (kinds < OPERATION_FRACTION).at[0].set(True).at[num_slots // 2 :].set(False)
    drawn = jnp.where(has_operation, _choose(arities, operations), _choose(leaf_weights, leaves))
    levels = [drawn[:1]]
    for level in range(1, max_depth):  # a slot is filled if the symbol above has an argument there
        num_arguments = jnp.asarray(arities)[levels[-1]]
        is_argument = jnp.stack([num_arguments > 0, num_arguments > 1], axis=1).reshape(-1)
        levels.append(jnp.where(is_argument, drawn[2**level - 1 : 2 ** (level + 1) - 1], 0))
    return jnp.concatenate(levels)


def near_misses(theory: Theory, tokens: Int[Array, " N"]) -> Int[Array, "M N"]:
    """Returns what a term becomes when one of its a, b, c is another one, and when two of them change places.

    M is 2 N + N (N - 1) / 2; where a slot has none of them, the term itself stands in place of the change.
    """
    num_slots, first = len(tokens), 1 + len(theory.symbols) - len(CONSTANTS)
    is_constant = tokens >= first
    others = first + (tokens - first + jnp.arange(1, len(CONSTANTS))[:, None, None]) % len(CONSTANTS)
    replaced = jnp.where(jnp.eye(num_slots, dtype=bool) & is_constant, others, tokens).reshape(-1, num_slots)
    left, right = np.triu_indices(num_slots, k=1)
    order = np.tile(np.arange(num_slots), (len(left), 1))
    order[np.arange(len(left)), left], order[np.arange(len(left)), right] = right, left
    exchanged = jnp.where((is_constant[left] & is_constant[right])[:, None], tokens[order], tokens)
    return jnp.concatenate([replaced, exchanged])


def _choose(weights: Int[np.ndarray, " V"], uniform: Float[Array, " N"]) -> Int[Array, " N"]:
    """Turns uniform numbers in [0, 1) into tokens with probabilities in the proportion of the weights."""
    return (uniform[:, None] >= np.cumsum(weights) / weights.sum()).sum(axis=-1, dtype=jnp.int32)


def draw_until(
    is_wanted: Callable[[T], Bool[Array, ""]], draw: Callable[[Key[Array, ""]], T], key: Key[Array, ""]
) -> T:
    """Draws again and again until what comes is wanted."""

    def redraw(carry):
        next_key, draw_key = jax.random.split(carry[0])
        drawn = draw(draw_key)
        return next_key, drawn, is_wanted(drawn)

    # Nothing is drawn before the loop: that would compile all of it twice.
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(draw, key))
    return jax.lax.while_loop(lambda carry: ~carry[2], redraw, (key, nothing, jnp.bool_(False)))[1]


def invariant_values(theory_name: str, tokens: Int[Array, " N"]) -> Int[Array, " assignments"]:
    """Returns the values of a term in the theory's invariant model for all assignments of a, b, c.

    No rewrite changes them. Terms whose values differ are not equal; the converse holds in Boolean algebra.
    """
    leaves, operations = map(jnp.asarray, _evaluation_tables(theory_name))
    values = leaves[tokens]
    first = (len(tokens) - 1) // 2
    while first > 0:  # the slots above are evaluated by levels, upwards from the last but one
        above = slice(first // 2, first)
        children = values[first : 2 * first + 1]
        combined = operations[tokens[above, None], children[0::2], children[1::2]]
        values = values.at[above].set(jnp.where(combined < 0, values[above], combined))
        first //= 2
    return values[0]


def is_test_term(theory_name: str, tokens: Int[Array, " N"]) -> Bool[Array, ""]:
    """Whether a term is kept for test problems: a bit of a hash of its values, the same for all terms equal to it.

    It is also the same for the terms that come of it by renaming a, b and c.
    """
    weights = jnp.asarray(_hash_weights(theory_name))
    smallest = (invariant_values(theory_name, tokens).astype(jnp.uint32) * weights).sum(axis=-1).min()
    return ((smallest ^ (smallest >> 15)) * jnp.uint32(0x2C1B3C6D) >> 16) & 1 == 1


@functools.cache
def _evaluation_tables(theory_name: str) -> tuple[Int[np.ndarray, "V assignments"], Int[np.ndarray, "V n n"]]:
    """Returns the values of constants, 0 for all else; and the tables of operations, -1 for all else."""
    theory = THEORIES[theory_name]
    model = theory.invariant_model
    size = len(model.elements)
    constants = assignments(model, CONSTANTS)
    leaves = np.zeros((1 + len(theory.symbols), size ** len(CONSTANTS)), np.int32)
    operations = np.full((1 + len(theory.symbols), size, size), -1, np.int32)
    for token, symbol in enumerate(theory.symbols, start=1):
        if symbol.arity == 0:
            leaves[token] = constants[symbol.name] if symbol.name in constants else model.operations[symbol.name]
        else:
            table = model.operations[symbol.name]
            operations[token] = table if symbol.arity == 2 else table[:, None]
    return leaves, operations


@functools.cache
def _hash_weights(theory_name: str) -> UInt32[np.ndarray, "6 assignments"]:
    """Returns an odd number per assignment, and the same for each of the ways to rename the constants."""
    size = len(THEORIES[theory_name].invariant_model.elements)
    powers = np.cumprod(np.full(size ** len(CONSTANTS), 0x9E3779B1, np.uint32), dtype=np.uint32)
    cube = powers.reshape((size,) * len(CONSTANTS))
    return np.stack([cube.transpose(axes).ravel() for axes in itertools.permutations(range(len(CONSTANTS)))])
