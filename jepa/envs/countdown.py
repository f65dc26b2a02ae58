"""Countdown, the numbers round of the television game: combine the given numbers until one of them is the target.

The numbers are the context of a problem. Those that training sees and those of test problems are disjoint as
multisets: a hash of the sorted numbers has a bit that says to which of the two they belong.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key, UInt32

from jepa.drawing import Drawing, Shape, rectangle
from jepa.envs.base import Env, GoalKind
from jepa.envs.countdown_solver import fewest_operations
from jepa.envs.problem_arrays import numbers_from_text, states_from_arrays
from jepa.types import Goal, Problem

MIN_TARGET = 10
"""Smallest target that is drawn; smaller ones are too easy, but may come from outside."""
MAX_SMALL_NUMBER = 10
"""Largest of the small numbers."""
SMALL_FRACTION = 0.75
"""How many of the given numbers are small, on average."""
OPERATIONS = "+-*/"
"""Operations in the order of their actions."""
_SIGNS = "+\N{MINUS SIGN}\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Countdown(Env):
    """Numbers in places; an action replaces two of them by their sum, distance, product or quotient.

    A state is one token per place: 0 is an empty place, 1..max_value a number. Actions are 4 * pair + operation,
    for the pairs of places i < j in lexicographic order and the operations a + b, |a - b|, a * b and the larger
    divided by the smaller. The result goes to place i and place j becomes empty. Illegal are actions on an empty
    place and the results 0, above max_value or not whole. With four numbers every walk ends after at most three
    actions; record walks of length num_numbers - 1, behind which nothing happens.

    The target is known to the goal alone: "some place holds the target", whatever the other places hold.

    Every given number is, independently, small (uniform in 1..10) with a probability of 3/4 and otherwise large
    (uniform in 11..max_value / 2). So every sum of two given numbers is legal, and most products of two small
    ones; a uniform draw from 1..max_value would leave little but differences.
    """

    num_numbers: int = 4
    """How many numbers are given; 3 to 5, as test targets are drawn after trying every sequence of actions."""
    max_value: int = 99
    """Largest number that a place can hold; 22 to 999."""

    def __post_init__(self) -> None:
        """Refuses sizes whose reachable targets cannot be enumerated, or that leave no large numbers."""
        if not 3 <= self.num_numbers <= 5:
            raise ValueError(f"Countdown.num_numbers must lie in 3..5, came {self.num_numbers}")
        if not (least := 2 * (MAX_SMALL_NUMBER + 1)) <= self.max_value <= 999:
            raise ValueError(f"Countdown.max_value must lie in {least}..999, came {self.max_value}")

    @property
    def name(self) -> str:
        """Such as `countdown_4`, after the number of numbers."""
        return f"countdown_{self.num_numbers}"

    @property
    def num_tokens(self) -> int:
        """One token per place."""
        return self.num_numbers

    @property
    def vocab_size(self) -> int:
        """The numbers, and 0 for an empty place."""
        return self.max_value + 1

    @property
    def action_names(self) -> tuple[str, ...]:
        """Such as `1-2`: the distance of the numbers in the first and the second place."""
        pairs = _pairs(self.num_numbers)
        return tuple(f"{i + 1}{operation}{j + 1}" for i, j in pairs.tolist() for operation in OPERATIONS)

    @property
    def goal_kind(self) -> GoalKind:
        """A set of states: all that hold the target."""
        return GoalKind.STATE_SET

    @property
    def is_reversible(self) -> bool:
        """No: there is one number less after every action."""
        return False

    def step(self, state: Int[Array, " N"], action: Int[Array, ""]) -> Int[Array, " N"]:
        """Puts the result into the first place of the pair and empties the second."""
        pair, operation = jnp.divmod(action, len(OPERATIONS))
        first, second = jnp.asarray(_pairs(self.num_numbers))[pair]
        result = self._results(state[first], state[second])[operation]
        return jnp.where(result > 0, state.at[first].set(result).at[second].set(0), state)

    def legal_actions(self, state: Int[Array, " N"]) -> Bool[Array, " A"]:
        """Actions on two numbers with a whole result in 1..max_value."""
        first, second = _pairs(self.num_numbers).T
        return (self._results(state[first], state[second]) > 0).reshape(-1)

    def _results(self, first: Int[Array, "*shape"], second: Int[Array, "*shape"]) -> Int[Array, "*shape 4"]:
        """Returns the result of each operation; 0, which is never a legal result, where it is illegal."""
        larger, smaller = jnp.maximum(first, second), jnp.minimum(first, second)
        divisor = jnp.maximum(smaller, 1)
        quotient = jnp.where(larger % divisor == 0, larger // divisor, 0)
        results = jnp.stack([first + second, larger - smaller, first * second, quotient], axis=-1)
        return jnp.where((smaller > 0)[..., None] & (results <= self.max_value), results, 0)

    def initial_state(self, key: Key[Array, ""]) -> Int[Array, " N"]:
        """Draws numbers of training."""
        return self._draw_context(key, is_test=False)

    def sample_problem(self, key: Key[Array, ""]) -> Problem:
        """Draws numbers of tests, and a target uniformly from those that can be reached.

        Targets lie in 10..max_value and are none of the given numbers; numbers without one are drawn again.
        """
        values = jnp.arange(self.vocab_size)

        def draw_again(carry):
            key, _, _ = carry
            key, context_key = jax.random.split(key)
            start = self._draw_context(context_key, is_test=True)
            is_given = (values[:, None] == start).any(axis=1)
            return key, start, self.reachable_values(start) & (values >= MIN_TARGET) & ~is_given

        problem_key, target_key = jax.random.split(key)
        nothing = (problem_key, jnp.zeros(self.num_numbers, jnp.int32), jnp.zeros(self.vocab_size, bool))
        _, start, targets = jax.lax.while_loop(lambda carry: ~carry[2].any(), draw_again, nothing)
        target = jnp.argmax(jnp.where(targets, jax.random.uniform(target_key, targets.shape), -1.0))
        return Problem(start=start, goal=_target_goal(target, self.num_numbers))

    def reachable_values(self, state: Int[Array, " N"]) -> Bool[Array, " values"]:
        """Returns which of 0..max_value some place can hold, now or after any sequence of actions; never 0."""
        found = jnp.zeros(self.vocab_size, bool).at[state].set(True)
        hands = state[None]
        for size in range(self.num_numbers, 1, -1):
            pairs = _pairs(size)
            rest = np.array([[place for place in range(size) if place not in pair] for pair in pairs.tolist()], int)
            results = self._results(hands[:, pairs[:, 0]], hands[:, pairs[:, 1]])
            found = found.at[results].set(True)
            # An illegal result stays as an empty place: what the rest still reaches is reached without it too.
            kept = jnp.broadcast_to(hands[:, rest][:, :, None], (*results.shape, size - 2))
            hands = jnp.concatenate([results[..., None], kept], axis=-1).reshape(-1, size - 1)
        return found.at[0].set(False)

    def is_test_context(self, numbers: Int[Array, " N"]) -> Bool[Array, ""]:
        """Whether these numbers, in any order, belong to the test problems; otherwise training may see them."""
        return _digest(jnp.sort(numbers)) >> 31 == 1

    def _draw_context(self, key: Key[Array, ""], *, is_test: bool) -> Int[Array, " N"]:
        """Draws numbers until they belong to the wanted of the two sets, as about half of all do."""

        def draw_again(carry):
            key, draw_key = jax.random.split(carry[0])
            size, position = jax.random.uniform(draw_key, (2, self.num_numbers))
            is_small = size < SMALL_FRACTION
            count = jnp.where(is_small, MAX_SMALL_NUMBER, self.max_value // 2 - MAX_SMALL_NUMBER)
            smallest = jnp.where(is_small, 1, MAX_SMALL_NUMBER + 1)
            numbers = smallest + jnp.floor(position * count).astype(jnp.int32)
            return key, numbers, self.is_test_context(numbers) == is_test

        nothing = (key, jnp.zeros(self.num_numbers, jnp.int32), jnp.bool_(False))
        return jax.lax.while_loop(lambda carry: ~carry[2], draw_again, nothing)[1]

    def goal_alternatives(self, goal: Goal) -> Goal:
        """Returns, for each place, the partial state in which it holds the target.

        The target is the token under the goal's mask: under all of it in a problem, or in the one place where a
        walk happened to reach it.
        """
        target = jnp.where(goal.mask, goal.tokens, 0).max()
        shape = (self.num_numbers, self.num_numbers)
        return Goal(tokens=jnp.broadcast_to(target, shape), mask=jnp.eye(self.num_numbers, dtype=bool))

    def hindsight_mask(self, state: Int[Array, " N"], key: Key[Array, ""]) -> Bool[Array, " N"]:
        """Draws one of the places that hold a number."""
        place = jnp.argmax(jnp.where(state > 0, jax.random.uniform(key, state.shape), -1.0))
        return jnp.arange(self.num_numbers) == place

    def posed_goal(self, begin: Int[Array, " N"], end: Int[Array, " N"], key: Key[Array, ""]) -> Goal:
        """See base class: a number that stands somewhere at the end, and nowhere at the beginning if there is one."""
        is_new = ~(end[:, None] == begin).any(axis=1)
        place = jnp.argmax(jnp.where(end > 0, jax.random.uniform(key, end.shape) + is_new, -1.0))
        return _target_goal(end[place], self.num_numbers)

    def optimal_lengths(self, problems: Problem) -> Int[np.ndarray, " B"]:
        """Returns the least number of actions, by exact enumeration; -1 where the target cannot be reached."""
        targets = np.where(problems.goal.mask, problems.goal.tokens, 0).max(axis=1)
        return fewest_operations(np.asarray(problems.start), targets, max_value=self.max_value)

    def refutation(self, problem: Problem) -> str | None:
        """See base class: every way to combine the numbers was tried."""
        batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem)
        if self.optimal_lengths(batch)[0] >= 0:
            return None
        numbers, target = self.render(problem.start), int(np.where(problem.goal.mask, problem.goal.tokens, 0).max())
        values = np.flatnonzero(self.reachable_values(jnp.asarray(problem.start)))
        nearest = values[np.abs(values - target).argmin()]
        return f"no way to combine {numbers} in numbers of 1 to {self.max_value} makes {target}; {nearest} is nearest"

    def invalid_reason(self, state: Int[np.ndarray, " N"]) -> str | None:
        """Says what is wrong with a state: the number of places, their range, or that all of them are empty."""
        if state.shape != (self.num_numbers,):
            return f"expected {self.num_numbers} places, came shape {list(state.shape)}"
        if state.min() < 0 or state.max() > self.max_value:
            return f"expected 0 (empty) or numbers up to {self.max_value} in every place, came {state.tolist()}"
        if not state.any():
            return "expected at least one number, came empty places only"
        return None

    def problems_from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Problem:
        """Builds problems from `start` [B, num_numbers] and `target` [B].

        Places of a start may be empty (0). A target that cannot be reached is no error: whether there is a way is
        the question, so such problems are graded with the optimal length -1.

        Raises:
          ValueError: an array is missing or of the wrong shape, or a number or a target is out of range; the
            message names the problem.
        """
        starts = states_from_arrays(self, arrays, "start")
        if "target" not in arrays:
            raise ValueError(f"expected an array `target`, came the arrays {sorted(arrays)}")
        targets = np.asarray(arrays["target"])
        if targets.shape != (len(starts),) or not np.issubdtype(targets.dtype, np.integer):
            raise ValueError(
                f"`target` must be integers of shape [{len(starts)}], one per problem, "
                f"came {targets.dtype} of shape {list(targets.shape)}"
            )
        wrong = (targets < 1) | (targets > self.max_value)
        if wrong.any():
            index = int(np.argmax(wrong))
            raise ValueError(
                f"`target` of problem {index} must lie in 1..{self.max_value} for {self.name}, came {targets[index]}"
            )
        return Problem(start=starts, goal=_target_goal(jnp.asarray(targets, jnp.int32)[:, None], self.num_numbers))

    def arrays_from_text(self, text: str) -> Mapping[str, np.ndarray]:
        """See base class: the numbers and the target, such as `23 7 4 9 -> 100`."""
        what = f"{self.num_numbers} numbers and a target, such as {' '.join('23579'[: self.num_numbers])} -> 24"
        numbers, arrow, target = text.partition("->")
        given, wanted = numbers_from_text(numbers, what), numbers_from_text(target, what)
        if not arrow or len(given) != self.num_numbers or len(wanted) != 1:
            raise ValueError(f"expected {what}; came {text!r}")
        return {"start": np.array([given]), "target": np.array(wanted)}

    def render(self, state: Int[np.ndarray, " N"]) -> str:
        """Writes the numbers in a line; an empty place is a dot."""
        return " ".join(str(number or ".") for number in np.asarray(state).tolist())

    def render_goal(self, goal: Goal) -> str:
        """See base class: the target."""
        return str(np.asarray(goal.tokens)[0])

    def describe_action(self, state: Int[np.ndarray, " N"], action: int) -> str:
        """See base class: the sum with its numbers, such as `23 + 2 = 25`; the name where it is illegal."""
        pair, operation = divmod(action, len(OPERATIONS))
        one, other = sorted(np.asarray(state)[_pairs(self.num_numbers)[pair]].tolist(), reverse=True)
        result = int(self._results(jnp.int32(one), jnp.int32(other))[operation])
        return f"{one} {_SIGNS[operation]} {other} = {result}" if result else self.action_names[action]

    def draw(self, state: Int[np.ndarray, " N"], goal: Goal) -> Drawing:
        """See base class: a card per number, and the target above them."""
        numbers, target = np.asarray(state).tolist(), int(np.asarray(goal.tokens)[0])
        card, middle = rectangle(0.84, 1.1, 0.12), len(numbers) / 2
        sign = dict(fill="target", label=str(target), label_size=0.45)
        shapes = [Shape(outline=rectangle(1.0, 0.7, 0.12), x=middle, y=0.45, **sign)]
        for place, number in enumerate(numbers):
            fill = "accent" if number == target else "tile" if number else "floor"
            label = str(number) if number else ""
            shapes.append(Shape(outline=card, x=place + 0.5, y=1.6, fill=fill, label=label, label_size=0.45))
        return Drawing(width=len(numbers), height=2.2, shapes=tuple(shapes))


@functools.cache
def _pairs(num_places: int) -> Int[np.ndarray, "pairs 2"]:
    """Returns the places i < j of each pair, in lexicographic order."""
    return np.array(list(itertools.combinations(range(num_places), 2)))


def _target_goal(target: Int[Array, "*B"], num_places: int) -> Goal:
    """Returns the goal that carries the target in every place; the last axis of the target is the places'."""
    tokens = jnp.broadcast_to(target, (*target.shape[:-1], num_places)).astype(jnp.int32)
    return Goal(tokens=tokens, mask=jnp.ones(tokens.shape, bool))


def _digest(numbers: Int[Array, " N"]) -> UInt32[Array, ""]:
    """Returns a hash of numbers in order, in 32-bit integers alone, so that no version of anything changes it."""
    digest = jnp.uint32(0)
    for number in numbers.astype(jnp.uint32):
        digest = (digest ^ number) * jnp.uint32(0x9E3779B1)
        digest ^= digest >> 15
    return digest * jnp.uint32(0x85EBCA6B)
