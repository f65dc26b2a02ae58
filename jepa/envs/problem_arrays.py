"""Problems from outside: arrays of a problems file, and text as a person writes it, read and checked."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jepa.envs.base import Env, full_goal
from jepa.types import Goal, Problem


def states_from_arrays(env: Env, arrays: Mapping[str, np.ndarray], name: str) -> Int[Array, "B N"]:
    """Returns one array of a problems file as states of a domain.

    Raises:
      ValueError: the array is missing, of the wrong shape or type, or holds something that is not a state.
    """
    if name not in arrays:
        raise ValueError(f"expected an array `{name}`, came the arrays {sorted(arrays)}")
    states = np.asarray(arrays[name])
    is_batch = states.ndim == 2 and len(states) > 0 and states.shape[1] == env.num_tokens
    if not is_batch or not np.issubdtype(states.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be integers of shape [problems, {env.num_tokens}] for {env.name}, "
            f"came {states.dtype} of shape {list(states.shape)}"
        )
    for index, state in enumerate(states.astype(np.int64)):
        reason = env.invalid_reason(state)
        if reason is not None:
            raise ValueError(f"`{name}` of problem {index} is not a state of {env.name}: {reason}")
    return jnp.asarray(states, jnp.int32)


def goals_from_arrays(
    env: Env, arrays: Mapping[str, np.ndarray], num_problems: int, *, default: Int[np.ndarray, " N"]
) -> Goal:
    """Returns the full states of the array `goal`, or as many copies of the default where there is none.

    Raises:
      ValueError: as `states_from_arrays`, or there are not as many goals as problems.
    """
    if "goal" not in arrays:
        return full_goal(jnp.tile(jnp.asarray(default, jnp.int32), (num_problems, 1)))
    goals = states_from_arrays(env, arrays, "goal")
    if len(goals) != num_problems:
        raise ValueError(f"expected one goal per problem, came {len(goals)} goals for {num_problems} problems")
    return full_goal(goals)


def problems_from_starts_or_scrambles(
    env: Env, arrays: Mapping[str, np.ndarray], solved: Int[np.ndarray, " N"]
) -> Problem:
    """Builds problems from `start` [B, N] or `scramble` [B, T], and optionally `goal` [B, N].

    A scramble is actions from the solved state, all of them legal everywhere, padded with -1. Without `goal` the goal
    is the solved state.

    Raises:
      ValueError: not exactly one of `start` and `scramble` is there, a shape is wrong, or a state or a scramble is
        impossible; the message names the problem.
    """
    if ("start" in arrays) == ("scramble" in arrays):
        raise ValueError(f"expected either `start` or `scramble`, came the arrays {sorted(arrays)}")
    if "start" in arrays:
        starts = states_from_arrays(env, arrays, "start")
    else:
        starts = _scrambled(env, arrays["scramble"], solved)
    return Problem(start=starts, goal=goals_from_arrays(env, arrays, len(starts), default=solved))


def _scrambled(env: Env, scrambles: np.ndarray, solved: Int[np.ndarray, " N"]) -> Int[Array, "B N"]:
    if scrambles.ndim != 2 or not len(scrambles) or not np.issubdtype(scrambles.dtype, np.integer):
        raise ValueError(
            f"`scramble` must be integers of shape [problems, turns], came {scrambles.dtype} of shape {scrambles.shape}"
        )
    behind_end = np.logical_or.accumulate(scrambles == -1, axis=1)
    wrong = (scrambles < -1) | (scrambles >= env.num_actions) | (behind_end & (scrambles != -1))
    if wrong.any():
        index = int(np.argmax(wrong.any(axis=1)))
        raise ValueError(
            f"scramble {index}: expected turns 0..{env.num_actions - 1}, padded with -1 at the end, "
            f"came {scrambles[index].tolist()}"
        )

    def turn(states, turns):
        turned = jax.vmap(env.step)(states, jnp.maximum(turns, 0))
        return jnp.where(turns[:, None] >= 0, turned, states), None

    states = jnp.tile(jnp.asarray(solved, jnp.int32), (len(scrambles), 1))
    return jax.lax.scan(turn, states, jnp.asarray(scrambles.T, jnp.int32))[0]


def scramble_from_text(env: Env, text: str) -> Mapping[str, np.ndarray]:
    """Reads actions by their names, such as `R U' F2`, as the array `scramble`; a 2 behind a name means twice.

    Raises:
      ValueError: nothing is there, or something is no action.
    """
    actions, names = [], env.action_names
    for word in text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split():
        name, times = (word[:-1], 2) if word.endswith("2") else (word, 1)
        if name not in names:
            raise ValueError(f"expected turns of {' '.join(names)}, also twice as in {names[0]}2; came {word!r}")
        actions += [names.index(name)] * times
    if not actions:
        raise ValueError(f"expected turns of {' '.join(names)}, separated by blanks; came none")
    return {"scramble": np.array([actions])}


def numbers_from_text(text: str, what: str) -> list[int]:
    """Reads whole numbers that blanks, commas or slashes separate.

    Raises:
      ValueError: something is no whole number of at most nine digits; the message says what is expected.
    """
    words = text.replace(",", " ").replace("/", " ").split()
    for word in words:
        if not word.isdecimal() or len(word) > 9:
            raise ValueError(f"expected {what}; came {word!r} in {text!r}")
    return [int(word) for word in words]
