"""Arithmetic word problems as graphs: derive what a query needs, and nothing that it does not.

What is left of a word problem when the words are gone: quantities, some given, the others each defined by an
operation on two others, and a question about one of them. Every derivation is easy; to know which ones are
necessary is the problem. The query stands in the goal alone, so a state does not tell distractors apart.

Such problems as text, generated and split by their structure: T. Ye et al., "Physics of Language Models: Part 2.1,
Grade-School Math and the Hidden Reasoning Process" (2024). This domain is written from the definition above.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jepa.envs.arithmetic_graph_problems import sample_test_query, sample_training_graph
from jepa.envs.base import Env, GoalKind
from jepa.envs.problem_arrays import states_from_arrays
from jepa.types import Goal, Problem

OPERATION, LEFT, RIGHT, KNOWN, VALUE, NAME = range(6)
"""Places of the fields of a quantity."""
FIELD_NAMES = ("operation", "left parent", "right parent", "known flag", "value", "name")
SYMBOLS = ("given", "+", "-", "*")
QUANTITY_RANGE = (6, 40)
"""Fewer leave too few graphs for two halves; in more, the longest derivations are too rare to be found by drawing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArithmeticGraph(Env):
    """Quantities modulo a prime or any other number; the goal is that one of them is known.

    A state has six tokens per quantity: operation (0 given, 1 +, 2 -, 3 *), left parent and right parent (index + 1,
    0 for none), known flag, value (`modulus` while unknown), and the quantity's own name (index + 1), by which parents
    refer to it. Tokens with Q quantities: operations from 0, names (of parents, too) from 4, known flags from 5 + Q,
    values from 7 + Q. Action i derives quantity i, once both its parents are known.
    """

    test_fields: ClassVar[frozenset[str]] = frozenset({"min_steps", "max_steps"})

    num_quantities: int = 16
    """Quantities of a problem, given and defined; 6 to 40."""
    modulus: int = 23
    """Values are integers modulo this."""
    min_steps: int = 3
    """Least number of derivations that a test query takes."""
    max_steps: int = 9
    """Largest number of derivations that a test query takes; at most two thirds of the quantities."""

    def __post_init__(self) -> None:
        """Refuses sizes for which no problems exist or for which drawing would not find them."""
        fewest, most = QUANTITY_RANGE
        if not fewest <= self.num_quantities <= most:
            raise ValueError(f"num_quantities must lie in {fewest}..{most}, came {self.num_quantities}")
        if self.modulus < 2:
            raise ValueError(f"modulus must be at least 2, came {self.modulus}")
        limit = 2 * self.num_quantities // 3
        if not 1 <= self.min_steps <= self.max_steps <= limit:
            raise ValueError(
                f"expected 1 <= min_steps <= max_steps <= {limit} with {self.num_quantities} quantities, "
                f"came min_steps {self.min_steps} and max_steps {self.max_steps}"
            )

    @property
    def name(self) -> str:
        """Such as `arithmetic_graph_16`, by the number of quantities."""
        return f"arithmetic_graph_{self.num_quantities}"

    @property
    def num_tokens(self) -> int:
        """Six per quantity."""
        return len(FIELD_NAMES) * self.num_quantities

    @property
    def vocab_size(self) -> int:
        """Operations, names, known flags and values, end to end."""
        return int((self._offsets + self._field_sizes).max())

    @property
    def action_names(self) -> tuple[str, ...]:
        """The quantity that an action derives."""
        return tuple(f"x{quantity}" for quantity in range(self.num_quantities))

    @property
    def grid_shape(self) -> tuple[int, int]:
        """One row per quantity."""
        return (self.num_quantities, len(FIELD_NAMES))

    @property
    def goal_kind(self) -> GoalKind:
        """All states in which the query is known, whatever its value and whatever else is known."""
        return GoalKind.STATE_SET

    @property
    def is_reversible(self) -> bool:
        """What is known is not forgotten."""
        return False

    @property
    def _field_sizes(self) -> Int[np.ndarray, "6"]:
        names = self.num_quantities + 1
        return np.array([len(SYMBOLS), names, names, 2, self.modulus + 1, names])

    @property
    def _offsets(self) -> Int[np.ndarray, "6"]:
        """First token of each field; parents and names share theirs, so that a reference looks like what it means."""
        names, known = len(SYMBOLS), len(SYMBOLS) + self.num_quantities + 1
        return np.array([0, names, names, known, known + 2, names], np.int32)

    @property
    def _known_token(self) -> int:
        return int(self._offsets[KNOWN]) + 1

    def _fields(self, state: Int[Array, " N"]) -> Int[Array, "A 6"]:
        return state.reshape(self.grid_shape) - self._offsets

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Derives a quantity: it becomes known, with its value."""
        fields = self._fields(state)
        operation, left_parent, right_parent = fields[action, :KNOWN]
        left, right = fields[left_parent - 1, VALUE], fields[right_parent - 1, VALUE]
        value = jnp.stack([left, left + right, left - right, left * right])[operation] % self.modulus
        derived = fields.at[action, KNOWN].set(1).at[action, VALUE].set(value)
        return jnp.where(self.legal_actions(state)[action], (derived + self._offsets).reshape(-1), state)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Quantities that are unknown while both their parents are known."""
        fields = self._fields(state)
        known = fields[:, KNOWN] == 1
        return ~known & (fields[:, OPERATION] > 0) & known[fields[:, LEFT] - 1] & known[fields[:, RIGHT] - 1]

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws a training graph, of which only the given quantities are known."""
        graph_key, values_key = jax.random.split(key)
        return self._start(values_key, sample_training_graph(graph_key, self.num_quantities))

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws a test graph and a query; the number of necessary derivations is uniform over its range."""
        graph_key, values_key = jax.random.split(key)
        asked = sample_test_query(graph_key, self.num_quantities, self.min_steps, self.max_steps)
        return Problem(start=self._start(values_key, asked.graph), goal=self._goal(asked.query))

    def _start(self, key: Key[Array, ""], graph: Int[Array, "A 3"]) -> Int[Array, " N"]:
        """Returns the state in which the given quantities alone are known; their values are uniform."""
        is_given = graph[:, 0] == 0
        values = jax.random.randint(key, is_given.shape, 0, self.modulus)
        values = jnp.where(is_given, values, self.modulus)
        names = jnp.arange(1, self.num_quantities + 1)
        return (jnp.column_stack([graph, is_given, values, names]) + self._offsets).astype(jnp.int32).reshape(-1)

    def _goal(self, query: Int[Array, "*B"]) -> Goal:
        """Returns the goal of knowing a quantity."""
        places = len(FIELD_NAMES) * query + KNOWN
        mask = jnp.arange(self.num_tokens) == places[..., None]
        return Goal(tokens=jnp.where(mask, self._known_token, 0).astype(jnp.int32), mask=mask)

    def hindsight_mask(self, state: Int[Array, " N"], key: Key[Array, ""]) -> Bool[Array, " N"]:
        """Draws the known flag of one derived quantity; of a given one where none is derived yet."""
        fields = self._fields(state)
        known = fields[:, KNOWN] == 1
        is_derived = known & (fields[:, OPERATION] > 0)
        candidates = jnp.where(is_derived.any(), is_derived, known)
        scores = jax.random.uniform(key, candidates.shape)
        return self._goal(jnp.argmax(jnp.where(candidates, scores, -1.0))).mask

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the number of unknown quantities that the query depends on, itself included; 0 where it is known.

        Each of them takes one derivation, and no other one helps. A goal may ask for several quantities at once. -1
        where a token is out of range, where the goal asks for anything else, and where parents cannot become known.
        """
        shape = (-1, *self.grid_shape)
        fields = np.asarray(problems.start).reshape(shape) - self._offsets
        mask = np.asarray(problems.goal.mask).reshape(shape)
        asks_otherwise = mask & (np.asarray(problems.goal.tokens).reshape(shape) != self._known_token)
        solvable = ((fields >= 0) & (fields < self._field_sizes)).all(axis=(1, 2)) & ~asks_otherwise.any(axis=(1, 2))
        fields = np.where(solvable[:, None, None], fields, 0)

        unknown = fields[:, :, KNOWN] == 0
        parents = np.zeros((len(fields), self.num_quantities, self.num_quantities), np.int32)
        for side in (LEFT, RIGHT):
            parents |= fields[:, :, side, None] == np.arange(1, self.num_quantities + 1)
        necessary = mask[:, :, KNOWN] & unknown
        blocked = unknown  # what has not become known after as many rounds
        is_definition = (fields[:, :, [OPERATION, LEFT, RIGHT]] > 0).all(axis=2)
        for _ in range(self.num_quantities):
            necessary = necessary | (unknown & (np.einsum("bq,bqp->bp", necessary.astype(np.int32), parents) > 0))
            blocked = blocked & ~(is_definition & (np.einsum("bqp,bp->bq", parents, blocked.astype(np.int32)) == 0))
        solvable &= ~(necessary & blocked).any(axis=1)
        return np.where(solvable, necessary.sum(axis=1), -1)

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: tokens, definitions, cycles, or what is known and its values."""
        if state.shape != (self.num_tokens,):
            return f"expected {self.num_tokens} tokens, came shape {list(state.shape)}"
        fields = state.reshape(self.grid_shape) - self._offsets
        misplaced = np.argwhere((fields < 0) | (fields >= self._field_sizes))
        if len(misplaced):
            quantity, field = misplaced[0].tolist()
            first, size = int(self._offsets[field]), int(self._field_sizes[field])
            token = int(state.reshape(self.grid_shape)[quantity, field])
            return f"the {FIELD_NAMES[field]} of x{quantity} must be in {first}..{first + size - 1}, came {token}"
        rows = fields.tolist()
        reasons = [_wrong_name(rows, quantity) for quantity in range(len(rows))]
        reasons += [_wrong_definition(rows, quantity) for quantity in range(len(rows))]
        reasons += [] if any(reasons) else [_cycle(rows)]
        reasons += [] if any(reasons) else [self._wrong_knowledge(rows, quantity) for quantity in range(len(rows))]
        return next(filter(None, reasons), None)

    def _wrong_knowledge(self, rows: list[list[int]], quantity: int) -> str | None:
        operation, left, right, known, value, _ = rows[quantity]
        if not known:
            if operation == 0:
                return f"x{quantity} is given, so it must be known"
            return None if value == self.modulus else f"x{quantity} is not known, but has the value {value}"
        if value == self.modulus:
            return f"x{quantity} is known, but has no value"
        if operation == 0:
            return None
        left_row, right_row = rows[left - 1], rows[right - 1]
        if not (left_row[KNOWN] and right_row[KNOWN]):
            return f"x{quantity} is known, but not both of its parents x{left - 1} and x{right - 1}"
        a, b = left_row[VALUE], right_row[VALUE]
        expected = (0, a + b, a - b, a * b)[operation] % self.modulus
        if value == expected:
            return None
        definition = f"x{left - 1} {SYMBOLS[operation]} x{right - 1} = {a} {SYMBOLS[operation]} {b}"
        return f"x{quantity} = {definition} must be {expected} modulo {self.modulus}, came {value}"

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, N], states, and `query` [B], the indices of the quantities asked for.

        A start may have derived quantities; a known query makes a problem of length 0.

        Raises:
          ValueError: an array is missing or of the wrong shape, a definition or a known value is wrong, definitions
            form a cycle, or a query is out of range; the message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        if "query" not in arrays:
            raise ValueError(f"expected an array `query`, came the arrays {sorted(arrays)}")
        queries = np.asarray(arrays["query"])
        if queries.shape != (len(starts),) or not np.issubdtype(queries.dtype, np.integer):
            raise ValueError(
                f"`query` must be one integer per problem, of shape [{len(starts)}], "
                f"came {queries.dtype} of shape {list(queries.shape)}"
            )
        wrong = (queries < 0) | (queries >= self.num_quantities)
        if wrong.any():
            index = int(np.argmax(wrong))
            last = self.num_quantities - 1
            raise ValueError(f"`query` of problem {index} must lie in 0..{last}, came {int(queries[index])}")
        return Problem(start=starts, goal=self._goal(jnp.asarray(queries, jnp.int32)))

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Writes a quantity per line, such as `x3 = x1 * x7 = 12`; an unknown value is a question mark."""
        lines = []
        for quantity, row in enumerate((np.asarray(state).reshape(self.grid_shape) - self._offsets).tolist()):
            symbol = SYMBOLS[row[OPERATION]] if 0 <= row[OPERATION] < len(SYMBOLS) else "?"  # as a model may imagine it
            definition = f" = x{row[LEFT] - 1} {symbol} x{row[RIGHT] - 1}" if row[OPERATION] else ""
            lines.append(f"x{quantity}{definition} = {row[VALUE] if row[KNOWN] else '?'}")
        return "\n".join(lines)

    def render_goal(self, goal: Goal) -> str:
        """See base class: the quantity that is asked for."""
        return f"x{int(np.argmax(np.asarray(goal.mask))) // len(FIELD_NAMES)} = ?"


def _wrong_name(rows: list[list[int]], quantity: int) -> str | None:
    name = rows[quantity][NAME]
    return None if name == quantity + 1 else f"x{quantity} must have the name {quantity + 1}, came {name}"


def _wrong_definition(rows: list[list[int]], quantity: int) -> str | None:
    operation, left, right = rows[quantity][:KNOWN]
    if operation == 0:
        return f"x{quantity} is given, but has a parent" if left or right else None
    if left and right and left != right and quantity + 1 not in (left, right):
        return None
    parents = " and ".join(f"x{parent - 1}" if parent else "none" for parent in (left, right))
    return f"the parents of x{quantity} must be two other quantities, came {parents}"


def _cycle(rows: list[list[int]]) -> str | None:
    """Says which quantities can never become known, since definitions lead round in a circle."""
    founded: set[int] = set()
    for _ in rows:
        founded |= {i for i, row in enumerate(rows) if not row[OPERATION] or {row[LEFT] - 1, row[RIGHT] - 1} <= founded}
    rest = ", ".join(f"x{quantity}" for quantity in range(len(rows)) if quantity not in founded)
    return f"a cycle: the definitions of {rest} do not lead back to given quantities" if rest else None
