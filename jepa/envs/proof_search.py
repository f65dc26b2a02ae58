"""Rewrites as tables on terms in heap order, and shortest proofs by a search from both ends.

A term lies on a binary tree whose slots are numbered as in a heap: the root is 1, the children of k are 2k and
2k + 1, and the only argument of a unary symbol is the left child. To rewrite at a slot is then to move subtrees
between places that are the same for every term.
"""

import collections
import dataclasses
import functools
import itertools

import numpy as np
from jaxtyping import Int, UInt8

from jepa.envs.theories import CONSTANTS, THEORIES, VARIABLES, Rule, Term, Theory, names_in

MAX_NODES = 1_000_000
"""How many terms the search for one proof may find before it is given up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Move:
    """A way to rewrite: a rule, a direction, a position."""

    rule: Rule
    """The rule."""
    is_left_to_right: bool
    """Direction."""
    position: int
    """Slot of the subterm that is replaced."""
    filling: Term | None
    """What a variable becomes that the replaced side does not have; None if there is no such variable."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rewrites:
    """Tables of R rewrites at P patterns in their places. Slot k is index k - 1."""

    moves: tuple[Move, ...]
    """What each rewrite is."""
    pattern: Int[np.ndarray, " R"]
    """Which pattern a rewrite needs."""
    expected: Int[np.ndarray, "P N"]
    """Token that a pattern needs in each slot, -1 for any; also 0 where subtrees would be moved off the tree."""
    equal_to: Int[np.ndarray, "P N"]
    """Index whose token each slot must have, its own where anything will do: a variable that occurs twice."""
    position: Int[np.ndarray, " P"]
    """Index of the root of the pattern, which must not be empty."""
    source: Int[np.ndarray, "R N"]
    """Where each token comes from: an index of the old term, or N + token."""


@functools.cache
def forward_rewrites(theory_name: str, max_depth: int) -> Rewrites:
    """Returns the actions: all rules, ways and positions; variables out of nowhere become constants a, b, c."""
    theory = THEORIES[theory_name]
    return _compile(theory, max_depth, _oriented_rules(theory), [list(CONSTANTS)] * max_depth)


@functools.cache
def backward_rewrites(theory_name: str, max_depth: int) -> Rewrites:
    """Returns the rewrites that undo actions: if some action leads from s to t, one of these leads from t to s.

    What an action forgets (x in x * x' = e) can have been any term for which there was room.
    """
    theory = THEORIES[theory_name]
    reversed_rules = []
    for rule, is_left_to_right, before, after in _oriented_rules(theory):
        unknown = sorted(names_in(after) & set(VARIABLES) - names_in(before))
        for constants in itertools.product(CONSTANTS, repeat=len(unknown)):
            instance = _substitute(after, dict(zip(unknown, constants, strict=True)))
            reversed_rules.append((rule, not is_left_to_right, instance, before))
    # A variable that is forgotten stands two levels or more below the position, in all rules.
    return _compile(theory, max_depth, reversed_rules, _terms_by_height(theory, max_depth - 2))


def _oriented_rules(theory: Theory) -> list[tuple[Rule, bool, Term, Term]]:
    """Returns (rule, whether from left to right, side that is replaced, side that replaces it)."""
    oriented = []
    for rule in theory.rules:
        oriented.append((rule, True, rule.left, rule.right))
        if rule.is_two_way:
            oriented.append((rule, False, rule.right, rule.left))
    return oriented


def _terms_by_height(theory: Theory, max_height: int) -> list[list[Term]]:
    """Returns all terms without variables of at most 0, 1, 2, ... levels."""
    terms: list[list[Term]] = [[]]
    for _ in range(max_height):
        terms.append(
            [
                (symbol.name, *arguments) if arguments else symbol.name
                for symbol in theory.symbols
                for arguments in itertools.product(terms[-1], repeat=symbol.arity)
            ]
        )
    return terms


def _substitute(pattern: Term, values: dict[str, Term]) -> Term:
    if isinstance(pattern, str):
        return values.get(pattern, pattern)
    return (pattern[0], *(_substitute(argument, values) for argument in pattern[1:]))


def _compile(
    theory: Theory, max_depth: int, oriented: list[tuple[Rule, bool, Term, Term]], terms_by_height: list[list[Term]]
) -> Rewrites:
    """Makes the tables of rules at all positions where both sides fit into the tree.

    Args:
      theory: the theory.
      max_depth: levels of the tree.
      oriented: as `_oriented_rules`.
      terms_by_height: what a variable can become that the replaced side does not have, by the levels it has.
    """
    num_slots = 2**max_depth - 1
    moves, patterns, sources, tables = [], [], [], []
    for (rule, is_left_to_right, before, after), position in itertools.product(oriented, range(1, num_slots + 1)):
        place = functools.partial(_occurrences, position=position)
        if max(itertools.chain(*place(before).values(), *place(after).values())) > num_slots:
            continue
        tables.append((*_pattern_tables(theory, place(before), place(after), num_slots), position - 1))
        unknown = sorted(names_in(after) & set(VARIABLES) - names_in(before))
        fillings: list[Term | None] = [None]
        if unknown:
            (name,) = unknown  # no rule forgets two variables at once
            deepest = max(slot.bit_length() for slot in place(after)[name])
            fillings = list(terms_by_height[max_depth - deepest + 1])
        for filling in fillings:
            filled = after if filling is None else _substitute(after, {unknown[0]: filling})
            moves.append(Move(rule=rule, is_left_to_right=is_left_to_right, position=position, filling=filling))
            patterns.append(len(tables) - 1)
            sources.append(_source_table(theory, place(before), place(filled), position, num_slots))
    expected, equal_to, positions = zip(*tables, strict=True)
    return Rewrites(
        moves=tuple(moves),
        pattern=np.array(patterns),
        expected=np.stack(expected),
        equal_to=np.stack(equal_to),
        position=np.array(positions),
        source=np.stack(sources),
    )


def _occurrences(term: Term, position: int) -> dict[str, list[int]]:
    """Returns the slots of each symbol and variable of a term that lies at a position, whether they exist or not."""
    found, waiting = collections.defaultdict(list), [(term, position)]
    while waiting:
        part, slot = waiting.pop()
        head, *arguments = (part,) if isinstance(part, str) else part
        found[head].append(slot)
        waiting += [(argument, 2 * slot + side) for side, argument in enumerate(arguments)]
    return dict(found)


@functools.cache
def _subtree(position: int, num_slots: int) -> Int[np.ndarray, " N"]:
    """Returns the slots that lie to a position as 1, 2, ... lie to the root, whether they exist or not."""
    slots = np.arange(1, num_slots + 1)
    levels = np.array([slot.bit_length() - 1 for slot in slots.tolist()])
    return (position << levels) + slots - (1 << levels)


def _pattern_tables(
    theory: Theory, before: dict[str, list[int]], after: dict[str, list[int]], num_slots: int
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Returns what `Rewrites` calls expected and equal_to."""
    tokens = {symbol.name: token for token, symbol in enumerate(theory.symbols, start=1)}
    expected, equal_to = np.full(num_slots, -1), np.arange(num_slots)
    for name, slots in before.items():
        if name not in VARIABLES:
            expected[np.array(slots) - 1] = tokens[name]
            continue
        first = _subtree(slots[0], num_slots)
        for other in (_subtree(slot, num_slots) for slot in slots[1:]):
            both = (first <= num_slots) & (other <= num_slots)
            # Where only one of them exists it is empty: leaves end the other subtree above, and so this one.
            equal_to[other[both] - 1] = first[both] - 1
        for target in (_subtree(slot, num_slots) for slot in after.get(name, [])):
            expected[first[(first <= num_slots) & (target > num_slots)] - 1] = 0
    return expected, equal_to


def _source_table(
    theory: Theory, before: dict[str, list[int]], after: dict[str, list[int]], position: int, num_slots: int
) -> Int[np.ndarray, " N"]:
    """Returns what `Rewrites` calls source."""
    tokens = {symbol.name: token for token, symbol in enumerate(theory.symbols, start=1)}
    replaced = _subtree(position, num_slots)
    source = np.arange(num_slots)
    source[replaced[replaced <= num_slots] - 1] = num_slots
    for name, slots in after.items():
        if name not in VARIABLES:
            source[np.array(slots) - 1] = num_slots + tokens[name]
            continue
        origin = _subtree(before[name][0], num_slots)
        for target in (_subtree(slot, num_slots) for slot in slots):
            both = (target <= num_slots) & (origin <= num_slots)
            source[target[both] - 1] = origin[both] - 1
    return source


# ---- Search


def neighbours(rewrites: Rewrites, states: UInt8[np.ndarray, "B N"]) -> UInt8[np.ndarray, "num_neighbours N"]:
    """Returns what the rewrites make of each of the terms, in no particular order and with repetitions."""
    num_slots = states.shape[1]
    symbols = np.arange(int(rewrites.source.max()) - num_slots + 1, dtype=np.uint8)
    extended = np.concatenate([states, np.tile(symbols, (len(states), 1))], axis=1)
    found = [states[:0]]
    for pattern, sources in enumerate(_sources_by_pattern(rewrites)):
        expected, equal_to = rewrites.expected[pattern], rewrites.equal_to[pattern]
        fixed, tied = np.flatnonzero(expected >= 0), np.flatnonzero(equal_to != np.arange(num_slots))
        matches = states[:, rewrites.position[pattern]] > 0
        matches &= (states[:, fixed] == expected[fixed]).all(axis=1)
        matches &= (states[:, tied] == states[:, equal_to[tied]]).all(axis=1)
        if matches.any():
            found.append(extended[matches][:, sources].reshape(-1, num_slots))
    return np.concatenate(found)


@functools.cache
def _sources_by_pattern(rewrites: Rewrites) -> list[Int[np.ndarray, "_ N"]]:
    return [rewrites.source[rewrites.pattern == pattern] for pattern in range(len(rewrites.expected))]


class _Ball:
    """All terms within a number of rewrites of a term, grown one rewrite at a time."""

    def __init__(self, rewrites: Rewrites, centre: UInt8[np.ndarray, " N"]) -> None:
        self.rewrites = rewrites
        self.frontier = {centre.tobytes()}
        self.found = set(self.frontier)

    def grow(self) -> None:
        """Replaces the frontier by the terms that are one rewrite further."""
        num_slots = self.rewrites.source.shape[1]
        states = np.frombuffer(b"".join(self.frontier), np.uint8).reshape(-1, num_slots)
        reached = np.ascontiguousarray(neighbours(self.rewrites, states))
        self.frontier = set(reached.view(f"V{num_slots}").ravel().tolist()) - self.found
        self.found |= self.frontier


def shortest_proofs(
    theory_name: str,
    max_depth: int,
    starts: Int[np.ndarray, "B N"],
    goal: Int[np.ndarray, " N"],
    max_nodes: int = MAX_NODES,
) -> Int[np.ndarray, " B"]:
    """Returns the least number of rewrites from each of the starts to one goal.

    Breadth-first from both ends: backwards from the goal, for all starts in common, and forwards from each start. The
    cheaper side grows next, and terms that both have found for the first time lie on a shortest proof.

    Args:
      theory_name: a key of THEORIES.
      max_depth: levels of the tree.
      starts: well-formed terms.
      goal: a well-formed term.
      max_nodes: the search for a start is given up once it and the goal's side have found more terms.

    Returns:
      The lengths; -1 where there is no proof in terms that fit into the tree and where the search was given up.
    """
    lengths = np.full(len(starts), -1)
    behind = _Ball(backward_rewrites(theory_name, max_depth), goal.astype(np.uint8))
    ahead = {
        i: _Ball(forward_rewrites(theory_name, max_depth), start) for i, start in enumerate(starts.astype(np.uint8))
    }
    length = 0
    while ahead:
        for i, ball in list(ahead.items()):
            if not ball.frontier.isdisjoint(behind.frontier):
                lengths[i] = length
            too_many = len(ball.found) + len(behind.found) > max_nodes
            if lengths[i] >= 0 or too_many or not ball.frontier or not behind.frontier:
                del ahead[i]
        if len(behind.frontier) <= sum(len(ball.frontier) for ball in ahead.values()):
            behind.grow()
        else:
            for ball in ahead.values():
                ball.grow()
        length += 1
    return lengths
