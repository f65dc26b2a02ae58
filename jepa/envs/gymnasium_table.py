"""The transition tables of Gymnasium's tabular environments, read with NumPy and checked: deterministic, with ends.

The rewards are read only to see which ends of an episode are successes.
"""

import dataclasses
import functools
import json
import re
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jepa.envs.optional_packages import import_extra

MAX_COMBINATIONS = 2**24
"""Largest number of combinations of tokens, possible states or not: each has a place in a table of state numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """All that there is to know of an environment with S states."""

    tokens: Int[np.ndarray, "S N"]
    """What each state is as tokens."""
    strides: Int[np.ndarray, " N"]
    """Tokens times this: the number of their combination."""
    numbers: Int[np.ndarray, " combinations"]
    """The state that each combination of tokens is; -1 for none."""
    successors: Int[np.ndarray, "S A"]
    """The state after each action; the same state where an episode has ended."""
    legal: Bool[np.ndarray, "S A"]
    """Which actions change the state."""
    is_reachable: Bool[np.ndarray, " S"]
    """Whether an episode can get there."""
    start_probabilities: Float[np.ndarray, " S"]
    """How often episodes start there."""
    goals: Int[np.ndarray, " S"]
    """The nearest success, among equals the first; -1 where none can be reached, and in states that are never reached
    or in which an episode has ended."""


@functools.cache
def read_table(env_id: str, arguments: str) -> Table:
    """Reads an environment of Gymnasium.

    Raises:
      ValueError: Gymnasium is not installed or cannot make the environment, or it is no deterministic table.
    """
    env = _make(env_id, arguments)
    transitions = _transitions(env, env_id)
    successors, ends = transitions.successors, transitions.ends
    start_probabilities = np.asarray(env.initial_state_distrib, np.float32)
    goes_on, has_ended = _reach(successors, ends, np.flatnonzero(start_probabilities))
    if (both := np.flatnonzero(goes_on & has_ended)).size:
        raise ValueError(
            f"whether an episode of {env_id} has ended must be seen from its state; state {both[0]} is reached with "
            f"and without an end"
        )
    if not has_ended.any():
        raise ValueError(
            f"expected an environment whose episodes can end in a success, but those of {env_id} never end"
        )
    is_end = ends & goes_on[:, None]
    successes = np.unique(successors[is_end & (transitions.rewards == transitions.rewards[is_end].max())])
    successors = np.where(goes_on[:, None], successors, np.arange(len(successors), dtype=np.int32)[:, None])
    legal = successors != np.arange(len(successors))[:, None]
    tokens = _tokens(env, env_id, len(successors))
    sizes = tokens.max(axis=0).astype(np.int64) + 1
    strides = np.append(np.cumprod(sizes[:0:-1])[::-1], 1).astype(np.int32)
    numbers = np.full(sizes.prod(), -1, np.int32)
    numbers[tokens @ strides] = np.arange(len(tokens))
    return Table(
        tokens=tokens,
        strides=strides,
        numbers=numbers,
        successors=successors,
        legal=legal,
        is_reachable=goes_on | has_ended,
        start_probabilities=start_probabilities,
        goals=np.where(goes_on, _nearest(successors, legal, successes), -1).astype(np.int32),
    )


def _make(env_id: str, arguments: str) -> Any:
    """Returns the bare environment, without Gymnasium's wrappers, after checking that it has a table."""
    gymnasium = import_extra("gymnasium")
    # Gymnasium would import whatever module stands before a colon, and a run's JSON must not choose what is imported.
    if not re.fullmatch(r"[\w./-]+-v\d+", env_id):
        raise ValueError(f"expected the name and version of a registered environment, as Taxi-v4, came {env_id!r}")
    try:
        keywords = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments of {env_id} must be JSON, came {arguments!r}: {error}") from error
    if not isinstance(keywords, dict):
        raise ValueError(f'the arguments of {env_id} must be a JSON object, such as {{"size": 4}}, came {arguments!r}')
    try:
        env = gymnasium.make(env_id, disable_env_checker=True, **keywords).unwrapped
    except (gymnasium.error.Error, TypeError, ValueError, LookupError) as error:
        raise ValueError(f"Gymnasium cannot make {env_id} with the arguments {arguments}: {error}") from error
    for space in (env.observation_space, env.action_space):
        if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0:
            raise ValueError(f"expected states and actions of {env_id} to be Discrete from 0 on, came {space}")
    for attribute in ("P", "initial_state_distrib"):
        if not hasattr(env, attribute):
            raise ValueError(f"expected a tabular environment, but {env_id} has no attribute `{attribute}`")
    return env


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Transitions:
    """What the environment's own table says of every state and action."""

    successors: Int[np.ndarray, "S A"]
    """The next state."""
    rewards: Float[np.ndarray, "S A"]
    """The reward."""
    ends: Bool[np.ndarray, "S A"]
    """Whether the episode ends."""


def _transitions(env: Any, env_id: str) -> _Transitions:
    """Reads the table `P` of an environment, and refuses it where an action has more than one outcome."""
    shape = (int(env.observation_space.n), int(env.action_space.n))
    successors, rewards, ends = np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape, bool)
    for state, action in np.ndindex(shape):
        outcomes = {tuple(outcome) for probability, *outcome in env.P[state][action] if probability > 0}
        if len(outcomes) != 1:
            raise ValueError(
                f"{env_id} must be deterministic, but action {action} in state {state} has {len(outcomes)} outcomes; "
                f'some environments have an argument against it, such as {{"is_slippery": false}}'
            )
        ((successors[state, action], rewards[state, action], ends[state, action]),) = outcomes
    return _Transitions(successors=successors, rewards=rewards, ends=ends)


def _reach(
    successors: Int[np.ndarray, "S A"], ends: Bool[np.ndarray, "S A"], starts: Int[np.ndarray, " K"]
) -> tuple[Bool[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
    """Returns in which states episodes go on, and in which they end; in all others they never are."""
    goes_on, has_ended = np.zeros((2, len(successors)), bool)
    goes_on[starts] = True
    frontier = starts
    while frontier.size:
        following, ended = successors[frontier], ends[frontier]
        has_ended[following[ended]] = True
        frontier = np.setdiff1d(following[~ended], np.flatnonzero(goes_on))
        goes_on[frontier] = True
    return goes_on, has_ended


def table_distances(
    successors: Int[np.ndarray, "S A"], legal: Bool[np.ndarray, "S A"], goal: int
) -> Int[np.ndarray, " S"]:
    """Returns the least number of legal actions from every state to one; -1 where there is no way."""
    distances = np.full(len(successors), -1)
    distances[goal], depth = 0, 0
    while (distances == depth).any():
        leads_on = (legal & (distances == depth)[successors]).any(axis=1)
        distances[leads_on & (distances < 0)] = depth + 1
        depth += 1
    return distances


def _nearest(
    successors: Int[np.ndarray, "S A"], legal: Bool[np.ndarray, "S A"], successes: Int[np.ndarray, " K"]
) -> Int[np.ndarray, " S"]:
    """Returns the success that takes the fewest actions from every state, the first of equals; -1 where none can."""
    lengths = np.stack([table_distances(successors, legal, success) for success in successes.tolist()])
    lengths = np.where(lengths < 0, len(successors), lengths)
    return np.where(lengths.min(axis=0) < len(successors), successes[lengths.argmin(axis=0)], -1)


def _tokens(env: Any, env_id: str, num_states: int) -> Int[np.ndarray, "S N"]:
    """Returns what each state is as tokens: its decoded number, or the number itself."""
    if not hasattr(env, "decode"):
        return np.arange(num_states, dtype=np.int32)[:, None]
    tokens = np.array([tuple(env.decode(state)) for state in range(num_states)], np.int32)
    if tokens.min() < 0 or len(np.unique(tokens, axis=0)) < num_states:
        raise ValueError(f"expected `decode` of {env_id} to give every state whole numbers from 0 on, all different")
    if (num_combinations := int(np.prod(tokens.max(axis=0) + 1.0))) > MAX_COMBINATIONS:
        raise ValueError(
            f"expected `decode` of {env_id} to have at most {MAX_COMBINATIONS} combinations, came {num_combinations}"
        )
    return tokens
