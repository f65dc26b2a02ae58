"""An independent checker of written-out proofs.

It shares no code with the domain that makes them: it reads text, has its own table of rules, its own matching on
terms as nested tuples, and its own reading of tokens. So a mistake in the tables that move tokens cannot hide.
"""

import re
from collections.abc import Sequence

Parsed = str | tuple

MAX_NESTING = 100
"""How many parentheses or signs before letters a term may have: far more than one needs that is short enough."""
VARIABLES = frozenset("xyz")
RULES = {
    "groups": {
        "associativity": "(x * y) * z = x * (y * z)",
        "right unit": "x * e = x",
        "left unit": "e * x = x",
        "right inverse": "x * x' = e",
        "left inverse": "x' * x = e",
        "double inverse": "x'' = x",
        "inverse of a product": "(x * y)' = y' * x'",
        "inverse of the unit": "e' = e",
    },
    "boolean_algebra": {
        "commutativity of and": "x & y = y & x",
        "commutativity of or": "x | y = y | x",
        "associativity of and": "(x & y) & z = x & (y & z)",
        "associativity of or": "(x | y) | z = x | (y | z)",
        "idempotence of and": "x & x = x",
        "idempotence of or": "x | x = x",
        "absorption by and": "x & (x | y) = x",
        "absorption by or": "x | (x & y) = x",
        "distributivity of and": "x & (y | z) = (x & y) | (x & z)",
        "distributivity of or": "x | (y & z) = (x | y) & (x | z)",
        "negation of and": "~(x & y) = ~x | ~y",
        "negation of or": "~(x | y) = ~x & ~y",
        "complement under and": "x & ~x = 0",
        "complement under or": "x | ~x = 1",
        "double negation": "~~x = x",
        "unit of and": "x & 1 = x",
        "unit of or": "x | 0 = x",
    },
}
"""The rules of each theory, by name."""
ALPHABETS = {"groups": "*'()eabc", "boolean_algebra": "&|~()01abc"}
"""What may occur in the terms of each theory; the symbols among it in the order of their tokens."""

_HEADER = re.compile(r"Theorem of (?P<theory>\w+): (?P<left>[^=]+) = (?P<right>[^=]+)")
_STEP = re.compile(
    r"= (?P<term>[^=]+?) +by (?P<rule>[a-z ]+), (?P<direction>left to right|right to left), at (?P<way>root|[LR]+)"
)


def check_proof(theory: str, lines: Sequence[str]) -> str | None:
    """Says what is wrong with a proof; None if it is one.

    A proof is the line `Theorem of THEORY: TERM = TERM`, the first term again, and a line `= TERM  by RULE, left to
    right, at WAY` (or `right to left`) per rewrite. The way leads from the root of the term to the subterm that is
    replaced: letters L (left or only argument) and R, or `root`. A binary operation inside a term is in parentheses.

    Args:
      theory: a key of RULES.
      lines: the lines of the proof.

    Returns:
      The number of the first line at fault, counted from 1, and the reason.

    Raises:
      ValueError: there is no such theory.
    """
    if theory not in RULES:
        raise ValueError(f"expected one of the theories {sorted(RULES)}, came {theory!r}")
    number = 1
    try:
        header = _HEADER.fullmatch(lines[0]) if lines else None
        if header is None or header["theory"] != theory:
            raise ValueError(f"expected `Theorem of {theory}: TERM = TERM`, came {lines[0] if lines else 'nothing'}")
        left, right = (parse(header[side], ALPHABETS[theory]) for side in ("left", "right"))
        number, term = 2, parse(lines[1] if len(lines) > 1 else "", ALPHABETS[theory])
        if term != left:
            raise ValueError(f"expected the left side of the theorem, {header['left']}, came {lines[1].strip()}")
        for line in lines[2:]:
            number += 1
            term = _check_step(theory, term, line)
        if term != right:
            raise ValueError(f"expected the right side of the theorem, {header['right']}, at the end")
    except ValueError as error:
        return f"line {number}: {error}"
    return None


def check_proof_of(theory: str, lines: Sequence[str], start: Sequence[int], goal: Sequence[int]) -> str | None:
    """Says what is wrong with a proof that one given term is equal to another; None if it is one.

    Args:
      theory: a key of RULES.
      lines: as for `check_proof`.
      start: tokens of the left side on a binary tree in heap order: 0 for nothing, i + 1 for symbol i of the theory.
      goal: the same of the right side.

    Returns:
      What `check_proof` returns, or that the theorem is another one.

    Raises:
      ValueError: there is no such theory.
    """
    fault = check_proof(theory, lines)
    if fault is not None:
        return fault
    sides = lines[0].partition(":")[2].split("=")
    for name, side, tokens in zip(("left", "right"), sides, (start, goal), strict=True):
        if _heap_tokens(theory, parse(side, ALPHABETS[theory]), len(tokens)) != list(tokens):
            return f"line 1: expected the tokens {list(tokens)} as the {name} side of the theorem, came {side.strip()}"
    return None


def _heap_tokens(theory: str, term: Parsed, size: int) -> list[int]:
    """Returns the tokens of a term in heap order; more than the size, if the term has slots beyond it."""
    symbols = [character for character in ALPHABETS[theory] if character not in "()"]
    tokens, waiting = dict.fromkeys(range(1, size + 1), 0), [(1, term)]
    while waiting:
        slot, part = waiting.pop()
        head, *arguments = (part,) if isinstance(part, str) else part
        tokens[slot] = symbols.index(head) + 1
        waiting += [(2 * slot + side, argument) for side, argument in enumerate(arguments)]
    return list(tokens.values())


def _check_step(theory: str, before: Parsed, line: str) -> Parsed:
    """Returns the term of a line, once it is clear that it follows from the term before."""
    step = _STEP.fullmatch(line)
    if step is None:
        raise ValueError(f"expected `= TERM  by RULE, DIRECTION, at WAY`, came {line}")
    if step["rule"] not in RULES[theory]:
        raise ValueError(f"{theory} has no rule {step['rule']}")
    after = parse(step["term"], ALPHABETS[theory])
    sides = [parse(side, ALPHABETS[theory] + "xyz") for side in RULES[theory][step["rule"]].split("=")]
    if step["direction"] == "right to left":
        sides.reverse()
    old, new = before, after
    for letter in step["way"] if step["way"] != "root" else "":
        place = "LR".index(letter) + 1
        if not (isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new) > place):
            raise ValueError(f"there is nothing at {step['way']}")
        if old[:place] + old[place + 1 :] != new[:place] + new[place + 1 :]:
            raise ValueError(f"something has changed that is not at {step['way']}")
        old, new = old[place], new[place]
    values: dict[str, Parsed] = {}
    if not _matches(sides[0], old, values):
        raise ValueError(f"{step['rule']}, {step['direction']}, does not apply at {step['way']}")
    if not _matches(sides[1], new, values):
        raise ValueError(f"{step['rule']}, {step['direction']}, at {step['way']} does not result in {step['term']}")
    return after


def _matches(pattern: Parsed, term: Parsed, values: dict[str, Parsed]) -> bool:
    """Whether a term is an instance of a pattern, given the values of some variables; the others are added."""
    if isinstance(pattern, str):
        return values.setdefault(pattern, term) == term if pattern in VARIABLES else pattern == term
    if isinstance(term, str) or len(term) != len(pattern) or term[0] != pattern[0]:
        return False
    return all(_matches(part, argument, values) for part, argument in zip(pattern[1:], term[1:], strict=True))


def read_equation(theory: str, text: str, num_slots: int) -> list[list[int]]:
    """Returns the tokens of both sides of an equation, such as `(a * b)' = b' * a'`.

    Raises:
      ValueError: the text is no equation between two terms of the theory, or one is too deep.
    """
    sides = text.split("=")
    if len(sides) != 2:
        raise ValueError(f"expected an equation of two terms, such as a * b = b * a; came {text!r}")
    terms = [_heap_tokens(theory, parse(side, ALPHABETS[theory]), num_slots) for side in sides]
    for side, tokens in zip(sides, terms, strict=True):
        if len(tokens) > num_slots:
            raise ValueError(f"expected terms of at most {num_slots.bit_length()} levels; came {side.strip()}")
    return terms


def parse(text: str, alphabet: str) -> Parsed:
    """Reads a term: a letter or digit, or a tuple of an operation and its arguments.

    Raises:
      ValueError: the text is not a term, has other characters, or leaves open what belongs together.
    """
    characters = [character for character in text if character != " "]
    if characters.count("(") + characters.count("~") > MAX_NESTING:
        raise ValueError(f"expected a term with at most {MAX_NESTING} parentheses or signs, came more")
    for character in characters:
        if character not in alphabet:
            raise ValueError(f"expected terms of the characters {alphabet}, came {character} in {text.strip()}")
    term, rest = _parse_operation(characters)
    if rest:
        raise ValueError(f"expected a term, came {text.strip()}, of which {''.join(rest)} cannot be read")
    return term


def _parse_operation(characters: list[str]) -> tuple[Parsed, list[str]]:
    left, rest = _parse_argument(characters)
    if not rest or rest[0] not in "*&|":
        return left, rest
    right, behind = _parse_argument(rest[1:])
    return (rest[0], left, right), behind


def _parse_argument(characters: list[str]) -> tuple[Parsed, list[str]]:
    if not characters or characters[0] in "*&|')":
        raise ValueError(f"expected a term, came {''.join(characters) or 'nothing'}")
    first, rest = characters[0], characters[1:]
    if first == "~":
        term, rest = _parse_argument(rest)
        return ("~", term), rest
    term: Parsed = first
    if first == "(":
        term, rest = _parse_operation(rest)
        if not rest or rest[0] != ")":
            raise ValueError(f"expected a closing parenthesis, came {''.join(rest) or 'nothing'}")
        rest = rest[1:]
    while rest and rest[0] == "'":
        term, rest = ("'", term), rest[1:]
    return term, rest
