"""Jumanji's RubiksCube: 3x3x3, as stickers, in quarter and half turns, partly scrambled.

Which cubies there are, and which cubes can be put together from them, is known to `rubiks_cube.py`. How turns move
stickers is asked of Jumanji: it turns a cube on which all stickers are different.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Integer, Key

from jepa.envs.base import full_goal
from jepa.envs.jumanji_adapter import JumanjiEnv
from jepa.envs.near_states import NearStates, state_keys
from jepa.envs.optional_packages import import_extra
from jepa.envs.problem_arrays import problems_from_starts_or_scrambles
from jepa.envs.rubiks_cube import CORNERS, EDGES, RubiksCube
from jepa.types import Problem

FACES = "UFRBLD"
"""Faces in Jumanji's order, which is that of its colours and of its actions."""
TABLE_DEPTH = 4
"""From both sides, all 46,741 sequences of up to so many turns that do different things are tried."""
MAX_KNOWN_LENGTH = 2 * TABLE_DEPTH
"""Longer optimal lengths are not computed."""

_SOLVED = np.repeat(np.arange(6, dtype=np.int32), 9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumanjiRubiksCube(JumanjiEnv):
    """Jumanji's 3x3x3 cube; the usual goal is the solved cube.

    A state is the colours of the stickers, 0..5, face by face in the order of `FACES` and each face row by row. Actions
    are 3 * face + (0 clockwise, 1 counter-clockwise, 2 half turn). Problems are Jumanji's: random turns from the
    solved cube, 7 of them in its `RubiksCube-partly-scrambled-v0`.
    """

    test_fields: ClassVar[frozenset[str]] = frozenset({"num_scrambles"})

    num_scrambles: int = 7
    """Random turns that scramble the start of a problem; the optimal lengths of up to 8 are certain to be known."""

    def __post_init__(self) -> None:
        """Refuses problems that are solved already, and everything without Jumanji."""
        if self.num_scrambles < 1:
            raise ValueError(f"expected at least 1 scramble, came {self.num_scrambles}")
        super().__post_init__()

    def build(self) -> Any:
        """See base class."""
        package = import_extra("jumanji").environments.logic.rubiks_cube
        return package.RubiksCube(
            generator=package.generator.ScramblingGenerator(cube_size=3, num_scrambles_on_reset=self.num_scrambles)
        )

    @property
    def name(self) -> str:
        """`jumanji_rubiks_cube`."""
        return "jumanji_rubiks_cube"

    @property
    def num_tokens(self) -> int:
        """One token per sticker, the centres included."""
        return 54

    @property
    def vocab_size(self) -> int:
        """The colours."""
        return 6

    @property
    def action_names(self) -> tuple[str, ...]:
        """Turns; an apostrophe is counter-clockwise, a 2 a half turn."""
        return tuple(face + amount for face in FACES for amount in ("", "'", "2"))

    def to_jumanji(self, state: Int[Array, " N"]) -> Any:
        """See base class."""
        return import_extra("jumanji").environments.logic.rubiks_cube.types.State(
            cube=state.reshape(6, 3, 3).astype(jnp.int8), step_count=jnp.zeros((), jnp.int32), key=jax.random.key(0)
        )

    def from_jumanji(self, state: Any) -> Int[Array, " N"]:
        """See base class."""
        return state.cube.reshape(-1).astype(jnp.int32)

    def action_to_jumanji(self, action: Int[Array, ""]) -> Int[Array, "3"]:
        """Returns Jumanji's three numbers: face, depth (always 0) and amount."""
        face, amount = jnp.divmod(action, 3)
        return jnp.stack([face, jnp.zeros_like(face), amount])

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """All eighteen turns, always."""
        return jnp.ones(self.num_actions, bool)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """The solved cube."""
        return jnp.asarray(_SOLVED)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start as Jumanji does; the goal is the solved cube."""
        start, _ = self.jumanji.reset(key)
        return Problem(start=self.from_jumanji(start), goal=full_goal(jnp.asarray(_SOLVED)))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of turns where it is at most MAX_KNOWN_LENGTH, for any full goal.

        -1 where it is larger, where start or goal is no state of the cube, and where the goal leaves a sticker open.
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        is_full = np.asarray(problems.goal.mask).all(axis=1)
        lengths = np.full(len(starts), -1)
        for goal in np.unique(goals[is_full], axis=0):
            if self.invalid_reason(goal) is None:
                near = _near_states(self, goal)
                for index in np.flatnonzero(is_full & (goals == goal).all(axis=1)).tolist():
                    lengths[index] = -1 if self.invalid_reason(starts[index]) else _search(self, starts[index], near)
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: colours, centres, a cubie, or one of the three laws of the cube."""
        if state.shape != (54,):
            return f"expected 54 stickers, came shape {list(state.shape)}"
        if state.min() < 0 or state.max() > 5:
            return f"colours must lie in 0..5, came {state.min()}..{state.max()}"
        if (state[4::9] != np.arange(6)).any():
            return f"the centres must be 0..5, came {state[4::9].tolist()}"
        tokens = []
        for place, stickers in _stickers(self).items():
            colours = "".join(FACES[colour] for colour in state[list(stickers)].tolist())
            kind, size = (CORNERS, 3) if place in CORNERS else (EDGES, 2)
            rotated = [colours[slot:] + colours[:slot] for slot in range(size)]
            slot = next((slot for slot in range(size) if rotated[slot] in kind), None)
            if slot is None:
                return f"no cubie has the colours {colours}, as the one at {place}, clockwise"
            tokens.append(size * kind.index(rotated[slot]) + slot)
        return RubiksCube().invalid_reason(np.array(tokens))

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, 54] or `scramble` [B, T], and optionally `goal` [B, 54].

        A scramble is turns from the solved cube in this class's action numbers, padded with -1. Without `goal` the goal
        is the solved cube.

        Raises:
          ValueError: not exactly one of `start` and `scramble` is there, a shape is wrong, or a state or a scramble is
            impossible; the message names the problem.
        """
        return problems_from_starts_or_scrambles(self, arrays, _SOLVED)

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the unfolded net; a colour is written as the face that shows it when solved."""
        up, front, right, back, left, down = np.array(list(FACES))[np.asarray(state)].reshape(6, 3, 3)
        blank = np.full((3, 3), " ")
        rows = np.concatenate([np.hstack([blank, up]), np.hstack([blank, down])])
        middle = np.hstack([left, front, right, back])
        return "\n".join(" ".join(row) for row in [*rows[:3], *middle, *rows[3:]])


@functools.cache
def _turns(env: JumanjiRubiksCube) -> Int[np.ndarray, "18 54"]:
    """Returns, for each action, which sticker comes to each place."""
    with jax.ensure_compile_time_eval():
        turned = jax.vmap(env.step, in_axes=(None, 0))(jnp.arange(54), jnp.arange(18))
        return np.asarray(turned)


@functools.cache
def _stickers(env: JumanjiRubiksCube) -> dict[str, tuple[int, ...]]:
    """Returns the stickers of each place of a cubie, in the order of its name; places as in `rubiks_cube.py`.

    The stickers of a cubie are those that the same faces' turns move.
    """
    moved = _turns(env)[::3] != np.arange(54)
    place_of = ["".join(face for face, moves in zip(FACES, moved[:, i], strict=True) if moves) for i in range(54)]
    found = {}
    for place in CORNERS + EDGES:
        together = [sticker for sticker in range(54) if sorted(place_of[sticker]) == sorted(place)]
        found[place] = tuple(next(s for s in together if FACES[s // 9] == face) for face in place)
    return found


@functools.cache
def _sequences(env: JumanjiRubiksCube) -> tuple[Integer[np.ndarray, "num 54"], ...]:
    """Returns what sequences of turns do, as `_turns`, by their length: each effect once, at its least length."""
    turns = _turns(env).astype(np.uint8)
    levels = [np.arange(54, dtype=np.uint8)[None]]
    for _ in range(TABLE_DEPTH):
        longer = np.unique(levels[-1][:, turns].reshape(-1, 54), axis=0)
        known = np.isin(state_keys(longer), np.concatenate([state_keys(level) for level in levels]))
        levels.append(longer[~known])
    return tuple(levels)


def _near_states(env: JumanjiRubiksCube, goal: Int[np.ndarray, " 54"]) -> NearStates:
    levels = _sequences(env)
    states, distances = (
        goal[np.concatenate(levels)],
        np.repeat(np.arange(len(levels)), [len(level) for level in levels]),
    )
    order = np.argsort(state_keys(states))
    return NearStates(keys=state_keys(states)[order], states=states[order], distances=distances[order])


def _search(env: JumanjiRubiksCube, start: Int[np.ndarray, " 54"], near: NearStates) -> int:
    """Returns the distance of a state to a goal; -1 beyond MAX_KNOWN_LENGTH."""
    for depth, level in enumerate(_sequences(env)):
        remaining = near.distance(start[level])
        if remaining >= 0:
            return depth + remaining
    return -1
