"""The pocket cube: 2x2x2, one corner held fixed, six quarter turns, 3,674,160 states.

All of it follows from geometry. A cubie sits at a corner (x, y, z) of {-1, 1}^3, a sticker is a corner and
one of the corner's three outward normals; turning a face by 90 degrees rotates its four cubies about the
normal. The corner DBL (down, back, left) is held fixed, which removes the 24 rotations of the whole cube; the
faces that do not touch it are U, R and F.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.drawing import Drawing
from jepa.envs.base import Env, full_goal
from jepa.envs.cube_drawing import draw_cube
from jepa.envs.distance_table import (
    breadth_first_distances,
    cached_distances,
    rank_permutations,
    unrank_permutations,
)
from jepa.envs.problem_arrays import problems_from_starts_or_scrambles, scramble_from_text
from jepa.types import Goal, Problem

FACES = "URFDLB"
"""Faces in the order of their stickers; colour i is the one that face i shows when solved."""
NUM_STATES = 5_040 * 729
"""7! placements of the free corners times 3^6 twists."""

_RIGHT, _UP, _FRONT = np.eye(3, dtype=int)
_NORMALS = {"U": _UP, "R": _RIGHT, "F": _FRONT, "D": -_UP, "L": -_RIGHT, "B": -_FRONT}
_RIGHTWARD = {"U": _RIGHT, "R": -_FRONT, "F": _RIGHT, "D": _RIGHT, "L": _FRONT, "B": -_RIGHT}
"""Which way is right on a face, in the unfolded net as seen from outside."""
_CORNERS = np.array(list(itertools.product((1, -1), repeat=3)))
"""Positions of the corners; the last one is DBL."""


def _list_stickers() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Returns (corner, normal) of the 24 stickers: face by face, each row by row as in the net."""
    stickers = []
    for face in FACES:
        normal, rightward = _NORMALS[face], _RIGHTWARD[face]
        downward = np.cross(rightward, normal)
        for row, column in itertools.product((-1, 1), repeat=2):
            corner = normal + row * downward + column * rightward
            stickers.append((tuple(corner.tolist()), tuple(normal.tolist())))
    return stickers


def _turn_permutations() -> Int[np.ndarray, "6 24"]:
    """Returns for each action which sticker's colour comes to each place: new = old[permutation]."""
    stickers = _list_stickers()
    place = {sticker: i for i, sticker in enumerate(stickers)}
    permutations = []
    for face in "URF":
        axis = _NORMALS[face]
        clockwise = np.arange(24)
        for i, (corner, normal) in enumerate(stickers):
            if np.dot(corner, axis) == 1:
                clockwise[place[_turned(corner, axis), _turned(normal, axis)]] = i
        permutations += [clockwise, np.argsort(clockwise)]
    return np.stack(permutations)


def _turned(vector: tuple[int, ...], axis: Int[np.ndarray, "3"]) -> tuple[int, ...]:
    """Rotates by 90 degrees about an axis, clockwise for who looks at the face from outside."""
    return tuple((axis * np.dot(axis, vector) - np.cross(axis, vector)).tolist())


def _corner_places() -> Int[np.ndarray, "8 3"]:
    """Returns the stickers of each corner: the one on U or D first, then clockwise."""
    place = {sticker: i for i, sticker in enumerate(_list_stickers())}
    rows = []
    for x, y, z in _CORNERS.tolist():
        normals = [(0, y, 0), (x, 0, 0), (0, 0, z)]
        if np.linalg.det(normals) > 0:  # counter-clockwise
            normals[1:] = reversed(normals[1:])
        rows.append([place[(x, y, z), normal] for normal in normals])
    return np.array(rows)


def _corner_codes() -> Int[np.ndarray, "6 6 6"]:
    """Returns 3 * piece + twist for the three colours of a corner, read clockwise; -1 for no piece."""
    codes = np.full((6, 6, 6), -1)
    for piece, colours in enumerate(_HOME_COLOURS):
        for twist in range(3):
            codes[tuple(np.roll(colours, twist))] = 3 * piece + twist
    return codes


_TURNS = _turn_permutations()
_SOLVED = np.repeat(np.arange(6), 4).astype(np.int32)
_PLACES = _corner_places()
_HOME_COLOURS = _SOLVED[_PLACES]
_CODES = _corner_codes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PocketCube(Env):
    """The 2x2x2 cube with the corner DBL held fixed; the goal is the solved cube.

    A state is the colours of the 24 stickers, face by face in the order U R F D L B, each face row by row as
    in the net that `render` draws. Actions are 2 * face + (0 clockwise, 1 counter-clockwise), faces in the
    order U R F, each turn as seen from outside its face. Lengths count quarter turns: at most 14, on average
    10.67.
    """

    @property
    def name(self) -> str:
        """`pocket_cube`."""
        return "pocket_cube"

    @property
    def num_tokens(self) -> int:
        """24 stickers."""
        return 24

    @property
    def vocab_size(self) -> int:
        """6 colours."""
        return 6

    @property
    def action_names(self) -> tuple[str, ...]:
        """Quarter turns; an apostrophe is counter-clockwise."""
        return ("U", "U'", "R", "R'", "F", "F'")

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Turns a face; every action is legal."""
        return state[jnp.asarray(_TURNS)[action]]

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """All six turns, always."""
        return jnp.ones(self.num_actions, bool)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """The solved cube."""
        return jnp.asarray(_SOLVED)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start uniformly from all states; the goal is the solved cube."""
        pieces_key, twists_key = jax.random.split(key)
        pieces = jax.random.permutation(pieces_key, 7)
        twists = jax.random.randint(twists_key, (6,), 0, 3)
        twists = jnp.append(twists, -twists.sum() % 3)
        slots = (jnp.arange(3) - twists[:, None]) % 3
        colours = jnp.asarray(_HOME_COLOURS)[pieces[:, None], slots]
        start = jnp.asarray(_SOLVED).at[_PLACES[:7]].set(colours)
        return Problem(start=start, goal=full_goal(jnp.asarray(_SOLVED)))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of quarter turns, for any start and any full goal.

        The turns generate a group, so the way from s to g is the way from the solved cube to s^-1 g. -1 where
        start or goal is no state of the cube or the goal leaves a sticker open.
        """
        start_pieces, start_twists = _read_corners(np.asarray(problems.start))
        goal_pieces, goal_twists = _read_corners(np.asarray(problems.goal.tokens))
        known = _is_reachable(start_pieces, start_twists) & _is_reachable(goal_pieces, goal_twists)
        known &= np.asarray(problems.goal.mask).all(axis=1)
        at = np.argsort(start_pieces[known], axis=1)  # where the start has each piece
        pieces = np.take_along_axis(at, goal_pieces[known], axis=1)
        twists = (goal_twists[known] - np.take_along_axis(start_twists[known], pieces, axis=1)) % 3
        lengths = np.full(len(known), -1)
        lengths[known] = _distances()[_state_numbers(pieces, twists)]
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: colours, corner pieces, twists or the fixed corner."""
        if state.shape != (24,):
            return f"expected 24 stickers, came shape {state.shape}"
        if state.min() < 0 or state.max() > 5:
            return f"colours must lie in 0..5, came {state.min()}..{state.max()}"
        counts = np.bincount(state, minlength=6)
        if (counts != 4).any():
            came = ", ".join(f"{face} {count} times" for face, count in zip(FACES, counts.tolist(), strict=True))
            return f"each of the 6 colours must occur 4 times, came {came}"
        pieces, twists = (corners[0] for corners in _read_corners(state[None]))
        if (pieces < 0).any():
            corner = int(np.argmin(pieces))
            colours = "".join(FACES[colour] for colour in state[_PLACES[corner]].tolist())
            return f"the corner {_corner_name(corner)} is coloured {colours} clockwise, which no piece is"
        counts = np.bincount(pieces, minlength=8)
        if (counts > 1).any():
            return f"the corner piece {_corner_name(int(np.argmax(counts)))} occurs {counts.max()} times"
        if pieces[7] != 7 or twists[7] != 0:
            return "the corner DBL must stay in its place; rotate the whole cube until it does"
        if twists.sum() % 3:
            return f"one corner is twisted: the twists must sum to a multiple of 3, came {twists.sum()}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, 24] or `scramble` [B, T], and optionally `goal` [B, 24].

        A scramble is quarter turns from the solved cube in this class's action numbers, padded with -1.
        Without `goal` the goal is the solved cube.

        Raises:
          ValueError: not exactly one of `start` and `scramble` is there, a shape is wrong, or a state or a
            scramble is impossible; the message names the problem.
        """
        return problems_from_starts_or_scrambles(self, arrays, _SOLVED)

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: a scramble such as `R U2 F'`, or 24 stickers such as `UUUU RRRR FFFF DDDD LLLL BBBB`.

        Stickers are written as `render` writes them, the faces in the order U R F D L B, each row by row.
        """
        stickers = "".join(text.split())
        # No turn is as long as a face, so that a scramble is never taken for stickers.
        if set(stickers) - set(FACES) or max(map(len, text.split()), default=0) < 4:
            return scramble_from_text(self, text)
        if len(stickers) != 24:
            raise ValueError(f"expected 24 stickers, the four of each face; came {len(stickers)}")
        return {"start": np.array([[FACES.index(sticker) for sticker in stickers]])}

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the unfolded net; a colour is written as the face that shows it when solved."""
        letters = np.array(list(FACES))[np.asarray(state)].reshape(6, 2, 2)
        faces = dict(zip(FACES, letters, strict=True))
        lines = [f"    {' '.join(row)}" for row in faces["U"]]
        lines += [" ".join(np.concatenate([faces[face][row] for face in "LFRB"])) for row in range(2)]
        lines += [f"    {' '.join(row)}" for row in faces["D"]]
        return "\n".join(lines)

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: the cube in space, from two sides."""
        return draw_cube(dict(zip(FACES, np.asarray(state).reshape(6, 2, 2), strict=True)), FACES)


def build_distances() -> Int[np.ndarray, " num_states"]:
    """Computes the distance of every state to the solved cube, by state number.

    A turn moves pieces and twists them by an amount that depends on places alone. So two small tables, of the
    placements and of the orientations, describe it.
    """
    placements = unrank_permutations(np.arange(5_040), 7)
    digits = np.arange(729)[:, None] // 3 ** np.arange(6) % 3
    twists = np.column_stack([digits, -digits.sum(axis=1) % 3])
    placement_moves, twist_moves = [], []
    for turn in _TURNS:
        # The sticker at (corner, slot) comes from (source corner, source slot).
        source = np.argsort(_PLACES.ravel())[turn[_PLACES[:7]]]
        corners, added = source[:, 0] // 3, (np.arange(3) - source % 3)[:, 0]
        placement_moves.append(rank_permutations(placements[:, corners]) * 729)
        twist_moves.append((twists[:, corners] + added)[:, :6] % 3 @ 3 ** np.arange(6))

    def neighbours(states):
        placement, twist = np.divmod(states, 729)
        for by_placement, by_twist in zip(placement_moves, twist_moves, strict=True):
            yield by_placement[placement] + by_twist[twist]

    return breadth_first_distances(num_states=NUM_STATES, goal=0, neighbours=neighbours)


@functools.cache
def _distances() -> Int[np.ndarray, " num_states"]:
    return cached_distances(name="pocket_cube", num_states=NUM_STATES, build=build_distances)


def _state_numbers(pieces: Int[np.ndarray, "B 8"], twists: Int[np.ndarray, "B 8"]) -> Int[np.ndarray, " B"]:
    return rank_permutations(pieces[:, :7]) * 729 + twists[:, :6] @ 3 ** np.arange(6)


def _read_corners(
    states: Int[np.ndarray, "B 24"],
) -> tuple[Int[np.ndarray, "B 8"], Int[np.ndarray, "B 8"]]:
    """Returns which piece each corner holds, -1 for none, and how far it is twisted clockwise, 0..2."""
    colours = states[:, _PLACES]
    in_range = ((colours >= 0) & (colours < 6)).all(axis=-1)
    codes = np.where(in_range, _CODES[tuple(np.moveaxis(colours % 6, -1, 0))], -1)
    return codes // 3, codes % 3


def _is_reachable(pieces: Int[np.ndarray, "B 8"], twists: Int[np.ndarray, "B 8"]) -> Bool[np.ndarray, " B"]:
    complete = (np.sort(pieces, axis=1) == np.arange(8)).all(axis=1)
    return complete & (pieces[:, 7] == 7) & (twists[:, 7] == 0) & (twists.sum(axis=1) % 3 == 0)


def _corner_name(corner: int) -> str:
    x, y, z = _CORNERS[corner]
    return ("U" if y > 0 else "D") + ("F" if z > 0 else "B") + ("R" if x > 0 else "L")
