"""Proofs as text, for people and for `proof_checker.check_proof`."""

from collections.abc import Sequence

from jepa.envs.proof_search import Move
from jepa.envs.theories import Theory


def write_proof(theory: Theory, terms: Sequence[str], moves: Sequence[Move]) -> list[str]:
    """Writes a proof: the theorem; the first term; then a line per rewrite.

    Such a line has the new term, the rule, its direction, and the way from the root to where it was applied, L for a
    left or only argument and R for a right one.

    Args:
      theory: the theory of the rules.
      terms: the terms of the proof in infix notation, one more than moves.
      moves: what leads from each term to the next.

    Raises:
      ValueError: there are not as many terms as that.
    """
    reasons = [""]
    for move in moves:
        direction = "left to right" if move.is_left_to_right else "right to left"
        way = "".join("LR"[int(bit)] for bit in f"{move.position:b}"[1:]) or "root"
        reasons.append(f"by {move.rule.name}, {direction}, at {way}")
    width = max(map(len, terms))
    lines = [f"{'= ' if reason else '  '}{term:{width}}  {reason}" for term, reason in zip(terms, reasons, strict=True)]
    return [line.rstrip() for line in [f"Theorem of {theory.name}: {terms[0]} = {terms[-1]}", *lines]]
