"""Equational theories as data: symbols, rules as pairs of term patterns, and finite models that refute.

A term is a constant or a variable, a string, or a tuple of a symbol and its arguments: ("*", "a", ("'", "b")) is
a * b'. In rules "x", "y" and "z" are variables, which stand for any term; "a", "b" and "c" are constants of which
nothing is known, so that an equation between terms of them is a theorem if and only if it holds for all values.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

Term = str | tuple

VARIABLES = ("x", "y", "z")
"""Variables of the rules."""
CONSTANTS = ("a", "b", "c")
"""Constants without an axiom; every theory has them, behind its own symbols."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Symbol:
    """A function symbol, or a constant if it takes no arguments."""

    name: str
    """What it is called in terms."""
    arity: int
    """Number of arguments: 0, 1 or 2."""
    notation: str
    """How it is written, with braces for its arguments; a binary one puts itself in parentheses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """An equation that holds for all values of its variables."""

    name: str
    """Name in words."""
    left: Term
    """Left-hand side."""
    right: Term
    """Right-hand side."""
    is_two_way: bool = True
    """Whether it is used from right to left as well."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FiniteModel:
    """A finite set with an operation for each symbol, in which all rules of a theory hold."""

    name: str
    """Usual name."""
    elements: tuple[str, ...]
    """Names of the elements; everywhere else they are numbers 0, 1, ..."""
    operations: Mapping[str, np.ndarray]
    """For each symbol of the theory, other than a, b, c, its table, with one axis per argument."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Theory:
    """Symbols, rules, and models."""

    name: str
    """Name in words, in small letters and underscores."""
    symbols: tuple[Symbol, ...]
    """All symbols, a, b, c last; token i + 1 stands for symbol i, token 0 for nothing."""
    rules: tuple[Rule, ...]
    """Rules in the order of the actions."""
    models: tuple[FiniteModel, ...]
    """Models in the order in which they are tried."""
    invariant_model: FiniteModel
    """The model whose values tell training terms from test terms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Countermodel:
    """Values under which two terms differ, so that no proof can lead from one to the other."""

    model: FiniteModel
    """The model."""
    assignment: Mapping[str, str]
    """Element that each constant (or variable) of the two terms stands for."""
    values: tuple[str, str]
    """What the two terms are equal to."""

    def __str__(self) -> str:
        given = ", ".join(f"{name} = {element}" for name, element in self.assignment.items())
        return f"in {self.model.name}{' with ' if given else ''}{given}: {self.values[0]} and {self.values[1]}"


def names_in(term: Term) -> set[str]:
    """Returns the strings at the leaves of a term: variables and constants."""
    return {term} if isinstance(term, str) else set().union(*map(names_in, term[1:]))


def assignments(model: FiniteModel, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Returns for each name its elements under all assignments, the last name varying fastest."""
    size = len(model.elements)
    values = np.indices((size,) * len(names)).reshape(len(names), size ** len(names))
    return dict(zip(names, values, strict=True))


def evaluate(model: FiniteModel, term: Term, values: Mapping[str, np.ndarray]) -> Int[np.ndarray, "*assignments"]:
    """Returns the value of a term in a model under each of the assignments at once."""
    if isinstance(term, str):
        return values[term] if term in values else model.operations[term]
    return np.asarray(model.operations[term[0]][tuple(evaluate(model, argument, values) for argument in term[1:])])


def find_countermodel(theory: Theory, left: Term, right: Term) -> Countermodel | None:
    """Returns the first model and assignment of the constants under which two terms differ; None if there is none.

    A countermodel shows that no proof exists. None shows the converse for Boolean algebra alone, where the algebra
    of two elements has a counterexample to all that is not a theorem; groups would need infinitely many models.
    """
    own = {symbol.name for symbol in theory.symbols} - set(CONSTANTS)
    names = tuple(sorted((names_in(left) | names_in(right)) - own))
    for model in theory.models:
        values = assignments(model, names)
        sides = np.broadcast_arrays(evaluate(model, left, values), evaluate(model, right, values))
        differ: Bool[np.ndarray, " assignments"] = np.atleast_1d(sides[0] != sides[1])
        if differ.any():
            first = int(np.argmax(differ))
            elements = [model.elements[int(side.flat[first])] for side in sides]
            chosen = {name: model.elements[int(values[name][first])] for name in names}
            return Countermodel(model=model, assignment=chosen, values=(elements[0], elements[1]))
    return None


def write_term(theory: Theory, term: Term) -> str:
    """Writes a term in the usual notation, with parentheses around all but the outermost operation."""
    text = _write(theory, term)
    return text[1:-1] if isinstance(term, tuple) and len(term) == 3 else text


def _write(theory: Theory, term: Term) -> str:
    head, arguments = (term, ()) if isinstance(term, str) else (term[0], term[1:])
    notation = next(symbol.notation for symbol in theory.symbols if symbol.name == head)
    return notation.format(*(_write(theory, argument) for argument in arguments))


def _symbols(own: Mapping[str, str]) -> tuple[Symbol, ...]:
    notations = {**own, **{name: name for name in CONSTANTS}}
    return tuple(Symbol(name=name, arity=text.count("{}"), notation=text) for name, text in notations.items())


# ---- Groups


def _cyclic_group(order: int) -> FiniteModel:
    numbers = np.arange(order)
    tables = {"*": (numbers[:, None] + numbers) % order, "'": -numbers % order, "e": np.array(0)}
    return FiniteModel(name=f"Z{order}", elements=tuple(map(str, range(order))), operations=tables)


def _permutation_group(name: str, permutations: list[tuple[int, ...]]) -> FiniteModel:
    """Returns a group whose elements are named by their images of 1, 2, ...; the identity must come first."""
    number = {permutation: i for i, permutation in enumerate(permutations)}
    product = np.array([[number[tuple(p[i] for i in q)] for q in permutations] for p in permutations])
    names = tuple("".join(str(i + 1) for i in permutation) for permutation in permutations)
    return FiniteModel(
        name=name, elements=names, operations={"*": product, "'": np.argmin(product, axis=1), "e": np.array(0)}
    )


def _is_even(permutation: tuple[int, ...]) -> bool:
    return sum(first > second for first, second in itertools.combinations(permutation, 2)) % 2 == 0


_S3 = _permutation_group("S3", list(itertools.permutations(range(3))))
_A4 = _permutation_group("A4", list(filter(_is_even, itertools.permutations(range(4)))))

GROUPS = Theory(
    name="groups",
    symbols=_symbols({"*": "({} * {})", "'": "{}'", "e": "e"}),
    rules=(
        Rule(name="associativity", left=("*", ("*", "x", "y"), "z"), right=("*", "x", ("*", "y", "z"))),
        Rule(name="right unit", left=("*", "x", "e"), right="x"),
        Rule(name="left unit", left=("*", "e", "x"), right="x"),
        Rule(name="right inverse", left=("*", "x", ("'", "x")), right="e"),
        Rule(name="left inverse", left=("*", ("'", "x"), "x"), right="e"),
        Rule(name="double inverse", left=("'", ("'", "x")), right="x"),
        Rule(name="inverse of a product", left=("'", ("*", "x", "y")), right=("*", ("'", "y"), ("'", "x"))),
        Rule(name="inverse of the unit", left=("'", "e"), right="e"),
    ),
    # Squares commute in all but A4, whatever the sixth power is the unit in S3 and not in Z4.
    models=(*map(_cyclic_group, (2, 3, 4, 5)), _S3, _A4),
    invariant_model=_S3,
)

# ---- Boolean algebra


def _power_set(size: int, name: str, elements: tuple[str, ...]) -> FiniteModel:
    """Returns the algebra of the subsets of a set; a subset is the number with its bits."""
    subsets = np.arange(2**size)
    tables = {"&": subsets[:, None] & subsets, "|": subsets[:, None] | subsets, "~": subsets[::-1].copy()}
    constants = {"0": np.array(0), "1": np.array(2**size - 1)}
    return FiniteModel(name=name, elements=elements, operations={**tables, **constants})


_TWO_ELEMENTS = _power_set(1, "the algebra of 0 and 1", ("0", "1"))
_FOUR_ELEMENTS = _power_set(2, "the subsets of {p, q}", ("{}", "{p}", "{q}", "{p, q}"))

BOOLEAN_ALGEBRA = Theory(
    name="boolean_algebra",
    symbols=_symbols({"&": "({} & {})", "|": "({} | {})", "~": "~{}", "0": "0", "1": "1"}),
    rules=(
        # Commutativity is its own converse, and the converse of absorption would bring in a term from nowhere.
        Rule(name="commutativity of and", left=("&", "x", "y"), right=("&", "y", "x"), is_two_way=False),
        Rule(name="commutativity of or", left=("|", "x", "y"), right=("|", "y", "x"), is_two_way=False),
        Rule(name="associativity of and", left=("&", ("&", "x", "y"), "z"), right=("&", "x", ("&", "y", "z"))),
        Rule(name="associativity of or", left=("|", ("|", "x", "y"), "z"), right=("|", "x", ("|", "y", "z"))),
        Rule(name="idempotence of and", left=("&", "x", "x"), right="x"),
        Rule(name="idempotence of or", left=("|", "x", "x"), right="x"),
        Rule(name="absorption by and", left=("&", "x", ("|", "x", "y")), right="x", is_two_way=False),
        Rule(name="absorption by or", left=("|", "x", ("&", "x", "y")), right="x", is_two_way=False),
        Rule(
            name="distributivity of and",
            left=("&", "x", ("|", "y", "z")),
            right=("|", ("&", "x", "y"), ("&", "x", "z")),
        ),
        Rule(
            name="distributivity of or",
            left=("|", "x", ("&", "y", "z")),
            right=("&", ("|", "x", "y"), ("|", "x", "z")),
        ),
        Rule(name="negation of and", left=("~", ("&", "x", "y")), right=("|", ("~", "x"), ("~", "y"))),
        Rule(name="negation of or", left=("~", ("|", "x", "y")), right=("&", ("~", "x"), ("~", "y"))),
        Rule(name="complement under and", left=("&", "x", ("~", "x")), right="0"),
        Rule(name="complement under or", left=("|", "x", ("~", "x")), right="1"),
        Rule(name="double negation", left=("~", ("~", "x")), right="x"),
        Rule(name="unit of and", left=("&", "x", "1"), right="x"),
        Rule(name="unit of or", left=("|", "x", "0"), right="x"),
    ),
    models=(_TWO_ELEMENTS, _FOUR_ELEMENTS),
    invariant_model=_TWO_ELEMENTS,
)

THEORIES = {theory.name: theory for theory in (GROUPS, BOOLEAN_ALGEBRA)}
"""All theories by name."""
