"""All states near a goal in one sorted table: the half of a search that meets in the middle."""

import dataclasses

import numpy as np
from jaxtyping import Int, Integer, UInt64


def state_keys(states: Integer[np.ndarray, "*B N"]) -> UInt64[np.ndarray, "*B"]:
    """Hashes states to 64 bits; tests find the states of each table to have different keys."""
    factors = [pow(0x9E3779B97F4A7C15, place + 1, 2**64) for place in range(states.shape[-1])]
    return states.astype(np.uint64) @ np.array(factors, np.uint64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearStates:
    """The states up to some number of moves from a goal, in the order of their keys."""

    keys: UInt64[np.ndarray, " num"]
    """Increasing: `state_keys` of the states."""
    states: Integer[np.ndarray, "num N"]
    """The states."""
    distances: Int[np.ndarray, " num"]
    """Moves to the goal."""

    def distance(self, states: Integer[np.ndarray, "B N"]) -> int:
        """Returns the least distance of some states to the goal; -1 where none of them is near."""
        keys = state_keys(states)
        nearest = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        candidates = np.flatnonzero(self.keys[nearest] == keys)
        # States may share a key, so an equal key is only a candidate.
        found = nearest[candidates][(self.states[nearest[candidates]] == states[candidates]).all(axis=1)]
        return int(self.distances[found].min()) if len(found) else -1
