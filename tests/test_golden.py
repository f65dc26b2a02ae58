"""The losses of a tiny training are the committed ones: to the bit where nothing around the code differs. (F27)"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.golden_losses import COMMAND, GOLDEN, differences, updated

ROOT = Path(__file__).parents[1]
REGENERATE = f"if the change is meant, `{COMMAND}` writes the file anew, to be committed with a word on why"
ONE, NEXT, FAR, FARTHER = (1.0).hex(), float(np.nextafter(1.0, 2.0)).hex(), (1.001).hex(), (1.02).hex()


def at(place: str, *losses: str) -> dict:
    return {"place": place, "losses": {"a": list(losses)}}


@pytest.mark.faults
def test_losses_are_the_golden_ones():
    command = [sys.executable, "-m", "tests.golden_losses", "--print"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = differences(json.loads(ran.stdout), json.loads(GOLDEN.read_text())["recorded"])
    assert not found, "\n".join([*found, REGENERATE])


def test_one_bit_is_a_difference_only_where_nothing_else_differs():
    assert differences(at("here", NEXT), [at("here", ONE)]) != []
    assert differences(at("here", ONE), [at("here", ONE)]) == []
    assert differences(at("here", NEXT), [at("there", ONE)]) == []
    assert differences(at("here", NEXT), [at("there", NEXT), at("here", ONE)]) != []


def test_elsewhere_one_tie_of_ten_may_be_decided_otherwise():
    ten = [at("there", *[ONE] * 10)]
    assert differences(at("here", FAR, *[ONE] * 9), ten) == []
    assert differences(at("here", FAR, FAR, *[ONE] * 8), ten) != []
    assert differences(at("here", FARTHER, *[ONE] * 9), ten) != []
    assert differences(at("here", FAR), [at("there", ONE)]) != []


def test_the_nearest_place_counts():
    near, far = at("there", *[FAR] * 3, *[ONE] * 7), at("yonder", *[ONE] * 10)
    assert differences(at("here", *[FAR] * 3, *[ONE] * 7), [far]) != []
    assert differences(at("here", *[FAR] * 3, *[ONE] * 7), [far, near]) == []


def test_other_losses_in_number_or_name_are_a_difference_and_so_is_an_empty_record():
    assert differences(at("here", ONE), [at("here", ONE, ONE)]) != []
    assert differences({"place": "here", "losses": {"b": [ONE]}}, [at("there", ONE)]) != []
    assert differences(at("here", ONE), []) != []


def test_a_new_place_joins_and_changed_code_drops_what_it_made_elsewhere():
    here, there = at("here", NEXT), at("there", ONE)
    assert updated([there], here) == [there, here]
    assert updated([there, here], here) == [there, here]
    assert updated([there, here], at("here", ONE)) == [at("here", ONE)]
    assert updated([there], at("here", FAR)) == [at("here", FAR)]
