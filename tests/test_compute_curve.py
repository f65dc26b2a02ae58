"""Success against test-time compute: what is refused; from the command line it is run in test_train_eval."""

import pytest

from jepa.compute_curve import Curve
from jepa.curve_command import grade_compute


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search_scales": (1.0, 1.0)}, "--search-scales must be different numbers above 0"),
        ({"search_scales": (-1.0,)}, "--search-scales must be different numbers above 0"),
        ({"num_samples": -1}, "--num-samples must be at least 0"),
        ({"temperatures": (0.5, 0.0)}, r"--temperatures must be numbers above 0, at least one, came \[0.5, 0.0\]"),
        ({"temperatures": ()}, "--temperatures must be numbers above 0"),
        ({"search_scales": ()}, "expected --search-scales, --num-samples or both"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Curve(**fields)


def test_a_flag_that_does_not_exist_ends_with_1(capsys):
    with pytest.raises(SystemExit) as end:
        grade_compute(["somewhere", "--search-scale", "1"])
    assert end.value.code == 1 and "search-scale" in capsys.readouterr().err


def test_a_run_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="expected a run folder"):
        grade_compute([str(tmp_path / "nothing")])
