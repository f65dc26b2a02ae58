"""Random levels for Sokoban: wall layouts in two disjoint splits, training levels, and solvable test problems.

A hash bit of the wall layout says whether it is for training or for testing, so no test problem has walls that
a recorded walk has seen, not even rotated or mirrored: the hash is the same for all eight images of a layout.
"""

import enum
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, UInt32

from jepa.types import Goal, Problem

FLOOR, WALL, BOX, PLAYER = range(4)
"""Tokens of the cells."""

REVERSE_MOVES_PER_BOX = 100
"""How many moves a test problem is played backwards from its solved state, for each box."""
PULL_WEIGHT = 4.0
"""How much likelier a backward move that pulls a box is than one that does not; boxes rarely stir without it."""
MIN_PUSHES = 4
"""Fewest pushes of a drawn problem: so far are its boxes, all together, from the targets nearest to each."""


class Split(enum.Enum):
    """What a wall layout is for."""

    TRAINING = "recorded walks"
    TEST = "test problems"


def player_offsets(size: int) -> Int[np.ndarray, " A"]:
    """Returns how far through the cells each action moves the player: up, down, left, right."""
    return np.array([-size, size, -1, 1], np.int32)


@functools.cache
def border_cells(size: int) -> Bool[np.ndarray, " N"]:
    """Returns which cells of a square board lie on its border."""
    cells = np.ones((size, size), bool)
    cells[1:-1, 1:-1] = False
    return cells.ravel()


def is_test_layout(walls: Bool[Array | np.ndarray, " N"]) -> Bool[Array | np.generic, ""]:
    """Returns whether the walls of a square board are for testing; the same for its rotations and mirror images."""
    num_cells = walls.shape[0]
    weights = _mix(np.arange(1, num_cells + 1, dtype=np.uint32))
    sums = (walls[_symmetries(num_cells)] * weights).sum(axis=1, dtype=np.uint32)
    return _mix(sums).min() % 2 == 1


def draw_layout(key: Key[Array, ""], *, size: int, num_inner_walls: int, split: Split) -> Bool[Array, " N"]:
    """Draws which cells are walls, uniformly from the layouts of a split whose floor is in one piece."""
    border = border_cells(size)

    def draw(key):
        walls = border | _draw_cells(key, jnp.asarray(~border), num_inner_walls)
        connected = (_reachable(~walls, jnp.argmin(walls)) | walls).all()
        return connected & (is_test_layout(walls) == (split is Split.TEST)), walls

    return _draw_until_accepted(key, draw)


def draw_training_level(key: Key[Array, ""], *, size: int, num_boxes: int, num_inner_walls: int) -> Int[Array, " N"]:
    """Draws a level of the training split in which some box can be pushed and none stands in a corner.

    Whether it can be solved does not matter, as no goal is posed.
    """

    def draw(key):
        layout_key, boxes_key, player_key = jax.random.split(key, 3)
        walls = draw_layout(layout_key, size=size, num_inner_walls=num_inner_walls, split=Split.TRAINING)
        vertical, horizontal = (jnp.roll(walls, by) | jnp.roll(walls, -by) for by in (size, 1))
        corners = vertical & horizontal
        boxes = _draw_cells(boxes_key, ~walls & ~corners, num_boxes)
        free = ~walls & ~boxes
        player = _draw_cells(player_key, free, 1)
        reach = _reachable(free, jnp.argmax(player))
        pushes = [boxes & jnp.roll(reach, by) & jnp.roll(free, -by) for by in player_offsets(size).tolist()]
        accepted = ~(boxes & (walls | corners)).any() & jnp.stack(pushes).any()
        return accepted, _state(walls, boxes, player)

    return _draw_until_accepted(key, draw)


def draw_test_problem(key: Key[Array, ""], *, size: int, num_boxes: int, num_inner_walls: int) -> Problem:
    """Draws a level of the test split by playing backwards from boxes on their targets, so that it can be solved.

    No box of the start is on a target, and at least `MIN_PUSHES` pushes are needed.
    """

    def draw(key):
        layout_key, targets_key, player_key, moves_key = jax.random.split(key, 4)
        walls = draw_layout(layout_key, size=size, num_inner_walls=num_inner_walls, split=Split.TEST)
        targets = _draw_cells(targets_key, ~walls, num_boxes)
        player = _draw_cells(player_key, ~walls & ~targets, 1)
        solved = _state(walls, targets, player)
        move_keys = jax.random.split(moves_key, REVERSE_MOVES_PER_BOX * num_boxes)
        start, _ = jax.lax.scan(lambda state, key: (_reverse_move(key, state, size), None), solved, move_keys)
        goal = Goal(tokens=jnp.where(targets, BOX, FLOOR), mask=targets)
        distances = jnp.where(targets, _distances(size), 2 * size).min(axis=1) * (start == BOX)
        accepted = ~(targets & (start == BOX)).any() & (distances.sum() >= MIN_PUSHES)
        return accepted, Problem(start=start, goal=goal)

    return _draw_until_accepted(key, draw)


def _reverse_move(key: Key[Array, ""], state: Int[Array, " N"], size: int) -> Int[Array, " N"]:
    """Moves the player back to where an action could have come from; a box that this action could have pushed follows.

    There are eight such moves, four ways without and with a box; the state stays where none is possible.
    """
    player = jnp.argmax(state == PLAYER)
    ahead, behind = player + player_offsets(size), player - player_offsets(size)
    can_walk = state[behind] == FLOOR
    can_pull = can_walk & (state[ahead] == BOX)
    weights = jnp.concatenate([can_walk * 1.0, can_pull * PULL_WEIGHT])
    pulls, action = jnp.divmod(jax.random.categorical(key, jnp.log(weights)), 4)
    ahead, behind = ahead[action], behind[action]
    moved = state.at[player].set(jnp.where(pulls, BOX, FLOOR)).at[behind].set(PLAYER)
    moved = moved.at[ahead].set(jnp.where(pulls, FLOOR, state[ahead]))
    return jnp.where(can_walk.any(), moved, state)


def _draw_until_accepted(key: Key[Array, ""], draw: Callable[[Key[Array, ""]], tuple[Array, Any]]) -> Any:
    """Returns the first value that comes as (True, value)."""

    def advance(carry):
        key, draw_key = jax.random.split(carry[0])
        return key, draw(draw_key)

    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(draw, key))
    _, (_, value) = jax.lax.while_loop(lambda carry: ~carry[1][0], advance, (key, nothing))
    return value


def _draw_cells(key: Key[Array, ""], allowed: Bool[Array, " N"], num_cells: int) -> Bool[Array, " N"]:
    """Draws a set of allowed cells uniformly; others fill up where there are too few."""
    scores = jax.random.uniform(key, allowed.shape) + allowed
    return jnp.zeros_like(allowed).at[jax.lax.top_k(scores, num_cells)[1]].set(True)


def _reachable(free: Bool[Array, " N"], start: Int[Array, ""]) -> Bool[Array, " N"]:
    """Returns the free cells that ways of free cells connect to the start; nothing is free on the border."""
    size = round(free.shape[0] ** 0.5)

    def spread(_, reach):
        return reach | free & jnp.stack([jnp.roll(reach, by) for by in player_offsets(size).tolist()]).any(axis=0)

    return jax.lax.fori_loop(0, (size - 2) ** 2, spread, jnp.zeros_like(free).at[start].set(True))


def _state(walls: Bool[Array, " N"], boxes: Bool[Array, " N"], player: Bool[Array, " N"]) -> Int[Array, " N"]:
    tokens = jnp.where(walls, WALL, FLOOR)
    return jnp.where(player, PLAYER, jnp.where(boxes, BOX, tokens)).astype(jnp.int32)


@functools.cache
def _distances(size: int) -> Int[np.ndarray, "N N"]:
    """Returns how many rows and columns apart two cells are, together."""
    places = np.stack(np.divmod(np.arange(size**2), size))
    return abs(places[:, :, None] - places[:, None, :]).sum(axis=0)


@functools.cache
def _symmetries(num_cells: int) -> Int[np.ndarray, "8 N"]:
    """Returns which cell of a square board comes to each place in its four rotations and their mirror images."""
    size = round(num_cells**0.5)
    board = np.arange(num_cells).reshape(size, size)
    images = [np.rot90(image, turns) for image in (board, board.T) for turns in range(4)]
    return np.stack([image.ravel() for image in images])


def _mix(numbers: UInt32[Array | np.ndarray, " K"]) -> UInt32[Array | np.ndarray, " K"]:
    """Spreads every bit over all bits (the finalizer of MurmurHash3); arithmetic modulo 2^32."""
    numbers = (numbers ^ (numbers >> 16)) * np.uint32(0x85EBCA6B)
    numbers = (numbers ^ (numbers >> 13)) * np.uint32(0xC2B2AE35)
    return numbers ^ (numbers >> 16)
