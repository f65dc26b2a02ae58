"""The losses of a tiny training are the committed ones: to the bit where nothing around the code differs. (F27)"""

import json

import numpy as np
import pytest

from tests.golden_losses import COMMAND, GOLDEN, losses, place

TOLERANCE = 1e-4
"""Relative; for other versions, processors and numbers of cores, which add up in another order."""
REGENERATE = f"if the change is meant, `{COMMAND}` writes the file anew, to be committed with a word on why"


def differences(came: dict[str, list[str]], golden: dict[str, list[str]], is_same_place: bool) -> list[str]:
    """Says what differs by more than it may."""
    if {stage: len(values) for stage, values in came.items()} != {stage: len(x) for stage, x in golden.items()}:
        return [f"expected losses of {sorted(golden)}, came {sorted(came)}, or not as many"]
    tolerance = 0.0 if is_same_place else TOLERANCE
    return [
        f"loss {number} of {stage}: expected {float.fromhex(old)} ({old}), came {float.fromhex(new)} ({new})"
        for stage in golden
        for number, (old, new) in enumerate(zip(golden[stage], came[stage], strict=True))
        if not np.isclose(float.fromhex(new), float.fromhex(old), rtol=tolerance, atol=0.0)
    ]


@pytest.mark.faults
def test_losses_are_the_golden_ones(quick_compilation):
    golden = json.loads(GOLDEN.read_text())
    found = differences(losses(), golden["losses"], place() == golden["place"])
    assert not found, "\n".join([*found, REGENERATE])


def test_one_bit_is_a_difference_only_where_nothing_else_differs():
    one, next_one = (1.0).hex(), float(np.nextafter(1.0, 2.0)).hex()
    assert differences({"a": [next_one]}, {"a": [one]}, is_same_place=True) != []
    assert differences({"a": [next_one]}, {"a": [one]}, is_same_place=False) == []
    assert differences({"a": [(1.001).hex()]}, {"a": [one]}, is_same_place=False) != []
    assert differences({"a": [one]}, {"a": [one, one]}, is_same_place=False) != []
    assert differences({"b": [one]}, {"a": [one]}, is_same_place=False) != []
