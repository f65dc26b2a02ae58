"""Jumanji's SlidingTilePuzzle: the tiles of `sliding_tiles.py`, moved and shuffled by Jumanji."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.envs.base import full_goal
from jepa.envs.jumanji_adapter import JumanjiEnv
from jepa.envs.optional_packages import import_extra
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.types import Problem

_ACTIONS_OF_TILES = np.array([0, 3, 1, 2])
"""Up, right, down and left, as Jumanji numbers them, in the numbers of `SlidingTiles`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumanjiSlidingTiles(JumanjiEnv):
    """Jumanji's square board of tiles 1, 2, ... and a blank, 0; the goal has the tiles in order and the blank last.

    A state is the cells row by row, as in `SlidingTiles`. Actions move the blank: 0 up, 1 right, 2 down, 3 left.
    Problems are Jumanji's: random moves from the goal, so that with an even number of them the blank is an even number
    of cells away from its place.
    """

    test_fields: ClassVar[frozenset[str]] = frozenset({"num_random_moves"})

    size: int = 3
    """Height and width of the board, in cells; at least 2. Jumanji's registered board has 5."""
    num_random_moves: int = 200
    """Moves that shuffle the start of a problem."""

    def __post_init__(self) -> None:
        """Refuses problems that are solved already, boards without moves, and everything without Jumanji."""
        if self.size < 2 or self.num_random_moves < 1:
            raise ValueError(
                f"expected a size of at least 2 and at least 1 random move, came {self.size} and "
                f"{self.num_random_moves}"
            )
        super().__post_init__()

    def build(self) -> Any:
        """See base class."""
        package = import_extra("jumanji").environments.logic.sliding_tile_puzzle
        return package.SlidingTilePuzzle(
            generator=package.generator.RandomWalkGenerator(self.size, num_random_moves=self.num_random_moves)
        )

    @property
    def _tiles(self) -> SlidingTiles:
        return SlidingTiles(rows=self.size, columns=self.size)

    @property
    def name(self) -> str:
        """Such as `jumanji_sliding_tiles_3x3`."""
        return f"jumanji_sliding_tiles_{self.size}x{self.size}"

    @property
    def num_tokens(self) -> int:
        """One token per cell."""
        return self.size**2

    @property
    def vocab_size(self) -> int:
        """The tiles and the blank."""
        return self.num_tokens

    @property
    def action_names(self) -> tuple[str, ...]:
        """Ways in which the blank moves, in Jumanji's order."""
        return ("up", "right", "down", "left")

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return (self.size, self.size)

    def to_jumanji(self, state: Int[Array, " N"]) -> Any:
        """See base class."""
        return import_extra("jumanji").environments.logic.sliding_tile_puzzle.types.State(
            puzzle=state.reshape(self.grid_shape),
            empty_tile_position=jnp.stack(jnp.divmod(jnp.argmin(state), self.size)),
            key=jax.random.key(0),
            step_count=jnp.zeros((), jnp.int32),
        )

    def from_jumanji(self, state: Any) -> Int[Array, " N"]:
        """See base class."""
        return state.puzzle.reshape(-1).astype(jnp.int32)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Moves that keep the blank on the board."""
        return self._tiles.legal_actions(state)[_ACTIONS_OF_TILES]

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """The goal."""
        return self._tiles.initial_state(key)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a start as Jumanji does; the goal is Jumanji's solved puzzle."""
        start, _ = self.jumanji.reset(key)
        return Problem(start=self.from_jumanji(start), goal=full_goal(self.initial_state(key)))

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """See `SlidingTiles.optimal_lengths`."""
        return self._tiles.optimal_lengths(problems)

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """See `SlidingTiles.invalid_reason`."""
        return self._tiles.invalid_reason(state)

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """See `SlidingTiles.problems_from_arrays`.

        Raises:
          ValueError: as there.
        """
        return self._tiles.problems_from_arrays(arrays)

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Draws the board; the blank is a dot."""
        return self._tiles.render(state)
