"""Rubik's cube: 3x3x3, twelve quarter turns, 43,252,003,274,489,856,000 states.

Centres never move, so a state is which of 8 corner and 12 edge cubies stands in which place, and how it is
oriented. Places are named by the faces that they touch; a cubie has the name of its home. The turns follow
from geometry: turning a face by 90 degrees rotates the stickers of its cubies about the face's normal.

The states form a group: a sequence of turns is described by the state to which it leads from the solved cube,
so one gather (see `_reoriented`) carries out a turn, a scramble, or the renaming of cubies by a goal.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Integer, Key

from jepa.drawing import Drawing
from jepa.envs.base import Env, full_goal
from jepa.envs.cube_drawing import draw_cube
from jepa.envs.near_states import NearStates, state_keys
from jepa.envs.problem_arrays import problems_from_starts_or_scrambles, scramble_from_text
from jepa.types import Goal, Problem

FACES = "UDLRBF"
"""Faces in the order of their actions: up, down, left, right, back, front."""
CORNERS = ("URF", "UFL", "ULB", "UBR", "DFR", "DLF", "DBL", "DRB")
"""Corner places; each name begins with U or D and goes on clockwise."""
EDGES = ("UR", "UF", "UL", "UB", "DR", "DF", "DL", "DB", "FR", "FL", "BL", "BR")
"""Edge places; each name begins with U or D where it can, else with F or B."""
TABLE_DEPTH = 5
"""All 105,046 states up to this distance from the solved cube are tabulated, in a fraction of a second."""
SEARCH_DEPTH = 4
"""How far the search goes towards the table from the other side, in milliseconds."""
MAX_KNOWN_LENGTH = TABLE_DEPTH + SEARCH_DEPTH
"""Longer optimal lengths are not computed; a random cube has about 21."""

_PLACES = CORNERS + EDGES
_NUM_SLOTS = np.array([len(name) for name in _PLACES], np.int32)
"""Orientations of the cubies in each place, also the base of their tokens: 3 for corners, 2 for edges."""
_SOLVED = np.concatenate([3 * np.arange(8), 2 * np.arange(12)]).astype(np.int32)
_FIRST_STICKERS = np.array([0] * 8 + [24] * 12, np.int32)
"""Tokens of corners and of edges both begin at 0, sticker numbers go on from corners to edges."""

# A sticker is a place and one of its faces, in the order of the places and of their names: 24 on corners, 24 on edges.
_STICKER_FACES = np.array(list("".join(_PLACES)))
_STICKER_PLACES = np.repeat(np.arange(20, dtype=np.int32), _NUM_SLOTS)
_STICKER_SLOTS = np.concatenate([np.arange(num_slots, dtype=np.int32) for num_slots in _NUM_SLOTS])

_RIGHT, _UP, _FRONT = np.eye(3, dtype=int)
_NORMALS = {"U": _UP, "D": -_UP, "L": -_RIGHT, "R": _RIGHT, "B": -_FRONT, "F": _FRONT}
_POINTS = np.array([sum(_NORMALS[f] for f in name) + _NORMALS[face] for name in _PLACES for face in name])
"""Where the stickers are: a cubie at (x, y, z) of {-1, 0, 1}^3, its sticker one further out."""
_RIGHTWARD = {"U": _RIGHT, "D": _RIGHT, "L": _FRONT, "R": -_FRONT, "B": -_RIGHT, "F": _RIGHT}
"""Which way is right on a face, in the unfolded net as seen from outside."""
_CENTRES = {"U": (1, 4), "D": (7, 4), "L": (4, 1), "R": (4, 7), "B": (4, 10), "F": (4, 4)}
"""Row and column of the centres in the net."""


def _turn_stickers() -> Int[np.ndarray, "12 20"]:
    """Returns for each action the state to which it leads from the solved cube, in sticker numbers."""
    turns = []
    for face in FACES:
        axis, clockwise = _NORMALS[face], _SOLVED + _FIRST_STICKERS
        for sticker in clockwise.tolist():  # the first one of each cubie, whose slot is the orientation
            point = _POINTS[sticker]
            if point @ axis >= 1:
                moved = axis * (axis @ point) - np.cross(axis, point)  # clockwise as seen from outside
                target = int((_POINTS == moved).all(axis=1).argmax())
                clockwise[_STICKER_PLACES[target]] = sticker + _STICKER_SLOTS[target]
        state = _SOLVED
        for _ in range(3):
            state = _reoriented(state)[clockwise]
        turns += [clockwise, state + _FIRST_STICKERS]
    return np.stack(turns)


def _reoriented(
    states: Integer[np.ndarray, "*B 20"] | Int[Array, "*B 20"],
) -> Integer[np.ndarray, "*B 48"] | Int[Array, "*B 48"]:
    """Returns, by sticker number, the token of each place's cubie if it were twisted by 0, 1 (and 2) slots more.

    Indexing it with a sequence of turns, given as the sticker numbers of the state to which they lead from
    the solved cube, yields the tokens of the state after these turns.
    """
    tokens, base = states[..., _STICKER_PLACES], _NUM_SLOTS[_STICKER_PLACES].astype(states.dtype)
    return tokens // base * base + (tokens + _STICKER_SLOTS.astype(states.dtype)) % base


_TURNS = _turn_stickers()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RubiksCube(Env):
    """The 3x3x3 cube in quarter turns; the usual goal is the solved cube.

    A state is the cubie in each place: first the 8 corner places in the order of `CORNERS`, whose tokens are
    3 * cubie + orientation, then the 12 edge places in the order of `EDGES`, 2 * cubie + orientation. The
    orientation is the position, in the name of the place, of the face that shows the cubie's first colour.
    Actions are 2 * face + (0 clockwise, 1 counter-clockwise), faces in the order of `FACES`, each turn as seen
    from outside its face. Every state is at most 26 quarter turns from every other.
    """

    @property
    def name(self) -> str:
        """`rubiks_cube`."""
        return "rubiks_cube"

    @property
    def num_tokens(self) -> int:
        """8 corners and 12 edges."""
        return 20

    @property
    def vocab_size(self) -> int:
        """8 corner cubies in 3 orientations, or 12 edge cubies in 2."""
        return 24

    @property
    def action_names(self) -> tuple[str, ...]:
        """Quarter turns; an apostrophe is counter-clockwise."""
        return tuple(face + direction for face in FACES for direction in ("", "'"))

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Turns a face; every action is legal."""
        return _reoriented(state)[jnp.asarray(_TURNS)[action]]

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """All twelve turns, always."""
        return jnp.ones(self.num_actions, bool)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """The solved cube."""
        return jnp.asarray(_SOLVED)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start uniformly from all states; the goal is the solved cube."""
        corners_key, edges_key, twists_key, flips_key = jax.random.split(key, 4)
        corners = jax.random.permutation(corners_key, jnp.arange(8, dtype=jnp.int32))
        edges = jax.random.permutation(edges_key, jnp.arange(12, dtype=jnp.int32))
        # Swapping two edges pairs the even permutations with the odd ones, so the draw stays uniform.
        swapped = edges.at[:2].set(edges[1::-1])
        edges = jnp.where(_is_odd(corners) == _is_odd(edges), edges, swapped)
        twists = jax.random.randint(twists_key, (7,), 0, 3, jnp.int32)
        flips = jax.random.randint(flips_key, (11,), 0, 2, jnp.int32)
        corner_tokens = 3 * corners + jnp.append(twists, -twists.sum(dtype=jnp.int32) % 3)
        edge_tokens = 2 * edges + jnp.append(flips, flips.sum(dtype=jnp.int32) % 2)
        start = jnp.concatenate([corner_tokens, edge_tokens])
        return Problem(start=start, goal=full_goal(jnp.asarray(_SOLVED)))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of quarter turns where it is at most MAX_KNOWN_LENGTH, for any full goal.

        -1 where it is larger, where start or goal is no state of the cube, and where the goal leaves a place
        open. The search is from both sides: from the start by SEARCH_DEPTH, from the goal by TABLE_DEPTH.
        """
        starts, goals = np.asarray(problems.start), np.asarray(problems.goal.tokens)
        is_full = np.asarray(problems.goal.mask).all(axis=1)
        lengths = np.full(len(starts), -1)
        for index, (start, goal) in enumerate(zip(starts, goals, strict=True)):
            if is_full[index] and self.invalid_reason(start) is None and self.invalid_reason(goal) is None:
                # Naming each cubie after the place where the goal has it makes the goal the solved cube.
                names = np.argsort(_reoriented(goal) + _FIRST_STICKERS[_STICKER_PLACES])
                renamed = names[start + _FIRST_STICKERS] - _FIRST_STICKERS
                lengths[index] = _search(renamed.astype(np.uint8))
        return lengths

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: a cubie is missing, or one of the three laws of the cube is broken."""
        if state.shape != (20,):
            return f"expected 20 cubies, 8 corners and then 12 edges, came shape {list(state.shape)}"
        if state.min() < 0 or state.max() > 23:
            return f"tokens must lie in 0..23, came {state.min()}..{state.max()}"
        cubies, orientations = np.divmod(state, _NUM_SLOTS)
        for kind, found, names in (("corner", cubies[:8], CORNERS), ("edge", cubies[8:], EDGES)):
            counts = np.bincount(found, minlength=len(names))
            if (counts > 1).any():
                return f"the {kind} {names[int(np.argmax(counts))]} occurs {counts.max()} times, expected once"
        twist, flip = int(orientations[:8].sum()), int(orientations[8:].sum())
        if twist % 3:
            return f"corners are twisted: their orientations must sum to a multiple of 3, came {twist}"
        if flip % 2:
            return f"an edge is flipped: the orientations of the edges must sum to an even number, came {flip}"
        parities = ["odd" if _is_odd(found) else "even" for found in (cubies[:8], cubies[8:])]
        if parities[0] != parities[1]:
            return f"two cubies are swapped: corners and edges must have the same parity, came {' and '.join(parities)}"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, 20] or `scramble` [B, T], and optionally `goal` [B, 20].

        A scramble is quarter turns from the solved cube in this class's action numbers, padded with -1.
        Without `goal` the goal is the solved cube.

        Raises:
          ValueError: not exactly one of `start` and `scramble` is there, a shape is wrong, or a state or a
            scramble is impossible; the message names the problem.
        """
        return problems_from_starts_or_scrambles(self, arrays, _SOLVED)

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: a scramble in this class's turns, such as `R U2 F'`."""
        return scramble_from_text(self, text)

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the unfolded net; a colour is written as the face that shows it when solved."""
        return "\n".join(" ".join(row).rstrip() for row in _net(state))

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: the cube in space, from two sides."""
        net, faces = _net(state), {}
        for face, (row, column) in _CENTRES.items():
            letters = net[row - 1 : row + 2, column - 1 : column + 2]
            faces[face] = np.vectorize(FACES.index)(letters)
        return draw_cube(faces, FACES)


def _net(state: Int[np.ndarray, " N"]) -> np.ndarray:
    """Returns the unfolded net as letters of faces, blanks around it."""
    tokens, base = np.asarray(state)[_STICKER_PLACES], _NUM_SLOTS[_STICKER_PLACES]
    homes = _FIRST_STICKERS[_STICKER_PLACES] + tokens // base * base + (_STICKER_SLOTS - tokens) % base
    net = np.full((9, 12), " ")
    for face, cell in _CENTRES.items():
        net[cell] = face
    net[tuple(_net_cells().T)] = _STICKER_FACES[homes]
    return net


@functools.cache
def _net_cells() -> Int[np.ndarray, "48 2"]:
    """Returns row and column of each sticker in the net."""
    cells = []
    for face, point in zip(_STICKER_FACES.tolist(), _POINTS, strict=True):
        downward = np.cross(_RIGHTWARD[face], _NORMALS[face])
        cells.append(_CENTRES[face] + np.array([point @ downward, point @ _RIGHTWARD[face]]))
    return np.array(cells)


def _is_odd(permutation: Int[np.ndarray, " n"] | Int[Array, " n"]) -> np.bool_ | Bool[Array, ""]:
    """Whether a permutation is a product of an odd number of swaps."""
    is_inverted = permutation[:, None] > permutation[None, :]
    return (is_inverted & ~np.tri(len(permutation), dtype=bool)).sum() % 2 == 1


@functools.cache
def _near_states() -> NearStates:
    tokens, keys, distances = _SOLVED[None].astype(np.uint8), state_keys(_SOLVED[None]), np.zeros(1, int)
    for depth in range(1, TABLE_DEPTH + 1):
        adjacent = _reoriented(tokens[distances == depth - 1])[:, _TURNS].reshape(-1, 20)
        tokens = np.concatenate([tokens, adjacent])
        distances = np.append(distances, np.full(len(adjacent), depth))
        keys, first = np.unique(state_keys(tokens), return_index=True)  # of equal states the nearest one
        tokens, distances = tokens[first], distances[first]
    return NearStates(keys=keys, states=tokens, distances=distances)


def _search(state: Integer[np.ndarray, " 20"]) -> int:
    """Returns the distance of a state to the solved cube; -1 beyond MAX_KNOWN_LENGTH."""
    near, reoriented = _near_states(), _reoriented(state)
    for depth in range(SEARCH_DEPTH + 1):
        # The near states themselves are all sequences of so many turns, up to those that do the same.
        turns = near.states[near.distances == depth] + _FIRST_STICKERS
        remaining = near.distance(reoriented[turns])
        if remaining >= 0:
            return depth + remaining
    return -1
