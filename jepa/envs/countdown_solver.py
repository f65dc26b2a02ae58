"""How few operations make a target of some numbers: breadth-first over the hands of all problems at once.

A hand is what a player holds: the numbers of a state without their places. Hands are kept sorted, and each is
followed up once per problem, which is exact, as what can be made of a hand does not depend on how it came about.
"""

import itertools

import numpy as np
from jaxtyping import Int

_PROBLEMS_AT_ONCE = 256
"""Keeps the millions of hands of five numbers within some hundred megabytes."""


def fewest_operations(
    starts: Int[np.ndarray, "B N"], targets: Int[np.ndarray, " B"], *, max_value: int
) -> Int[np.ndarray, " B"]:
    """Returns the least number of operations after which some number is the target.

    Operations are a + b, |a - b|, a * b and the exact quotient of the larger by the smaller, all with results in
    1..max_value.

    Args:
      starts: the given numbers; 0 is an empty place.
      targets: what to make.
      max_value: the largest number there is.

    Returns:
      0 where the target is given; -1 where it cannot be made, or a start or a target is out of range.
    """
    parts = range(0, len(starts), _PROBLEMS_AT_ONCE)
    lengths = [
        _solve(starts[part : part + _PROBLEMS_AT_ONCE], targets[part : part + _PROBLEMS_AT_ONCE], max_value)
        for part in parts
    ]
    return np.concatenate([np.empty(0, int), *lengths])


def _solve(starts: Int[np.ndarray, "B N"], targets: Int[np.ndarray, " B"], max_value: int) -> Int[np.ndarray, " B"]:
    known = ((starts >= 0) & (starts <= max_value)).all(axis=1) & (targets >= 1) & (targets <= max_value)
    lengths = np.where(known & (starts == targets[:, None]).any(axis=1), 0, -1)
    owners = np.flatnonzero(known & (lengths < 0))
    hands = starts[owners].astype(np.int64)
    for num_operations in range(1, starts.shape[1]):
        owners, hands = _combine_once(owners, hands, max_value)
        lengths[owners[(hands == targets[owners, None]).any(axis=1)]] = num_operations
        unsolved = lengths[owners] < 0
        owners, hands = _without_duplicates(owners[unsolved], hands[unsolved], max_value)
    return lengths


def _combine_once(
    owners: Int[np.ndarray, " hands"], hands: Int[np.ndarray, "hands size"], max_value: int
) -> tuple[Int[np.ndarray, " successors"], Int[np.ndarray, "successors size-1"]]:
    """Returns all hands after one operation, one number shorter, and the problems that they belong to."""
    new_owners, new_hands = [], []
    for i, j in itertools.combinations(range(hands.shape[1]), 2):
        larger, smaller = np.maximum(hands[:, i], hands[:, j]), np.minimum(hands[:, i], hands[:, j])
        rest = np.delete(hands, [i, j], axis=1)
        quotient, remainder = np.divmod(larger, np.maximum(smaller, 1))
        for result, is_whole in (
            (larger + smaller, True),
            (larger - smaller, True),
            (larger * smaller, True),
            (quotient, remainder == 0),
        ):
            legal = (smaller > 0) & (result > 0) & (result <= max_value) & is_whole
            new_owners.append(owners[legal])
            new_hands.append(np.column_stack([result, rest])[legal])
    return np.concatenate(new_owners), np.concatenate(new_hands)


def _without_duplicates(
    owners: Int[np.ndarray, " hands"], hands: Int[np.ndarray, "hands size"], max_value: int
) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, "distinct size"]]:
    """Returns each sorted hand of each problem once, by writing both as the digits of one integer."""
    keys = owners
    for number in np.sort(hands, axis=1).T:
        keys = keys * (max_value + 1) + number
    keys = np.unique(keys)
    digits = []
    for _ in range(hands.shape[1]):
        keys, digit = np.divmod(keys, max_value + 1)
        digits.append(digit)
    return keys, np.stack(digits, axis=1)
