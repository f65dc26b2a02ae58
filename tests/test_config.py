"""Experiments as objects, files, flags and JSON."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jepa import config as config_module
from jepa.actors.learning import ActorLearning
from jepa.agents.latent_planner import LatentPlanner
from jepa.config import Experiment, debug, differences, from_json, is_refusal, load_config, to_json
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation
from jepa.planners.greedy import Greedy
from jepa.training import Schedule
from tests.discovery import skip_without_extra

EXPERIMENT = Experiment(env=PocketCube())

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def shipped(request) -> Experiment:
    """The experiment of each config file."""
    with skip_without_extra():
        return load_config(request.param)


def leaves(value, prefix="") -> dict[str, object]:
    """Every number, path and so on of an experiment by its flag."""
    if not dataclasses.is_dataclass(value):
        return {prefix: value}
    found = {}
    for field in dataclasses.fields(value):
        name = prefix if field.name in ("agent", "evaluation") else f"{prefix}.{field.name}".lstrip(".")
        found |= leaves(getattr(value, field.name), name)
    return found


def changed(value, flag: str, prefix=""):
    """A copy in which one leaf has another value of its type; past all checks of sizes."""
    copy = object.__new__(type(value))
    for field in dataclasses.fields(value):
        old = getattr(value, field.name)
        name = prefix if field.name in ("agent", "evaluation") else f"{prefix}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(old):
            old = changed(old, flag, name)
        elif name == flag:
            old = Path("other.npz") if old is None else not old if isinstance(old, bool) else old + type(old)(1)
        object.__setattr__(copy, field.name, old)
    return copy


# ---- config files


def test_there_are_configs():
    assert {"pocket_cube", "sliding_tiles"} <= {path.stem for path in CONFIGS}


def test_config_loads_and_survives_json(shipped):
    assert from_json(json.loads(json.dumps(to_json(shipped), allow_nan=False))) == shipped


def test_path_survives_json():
    experiment = Experiment(env=PocketCube(), evaluation=Evaluation(problems=Path("some/problems.npz")))
    assert from_json(json.loads(json.dumps(to_json(experiment)))) == experiment


def test_missing_config_is_refused_with_those_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/known.py").write_text("")
    with pytest.raises(ValueError, match=r"configs/unknown\.py does not exist; there are: configs/known\.py"):
        load_config("configs/unknown.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nconfig = Experiment(\n", r"bad\.py, line 2: SyntaxError"),
        ("\0", r"bad\.py, line 1: SyntaxError"),
        ("\n\nx = 1 / 0\n", r"bad\.py, line 3: ZeroDivisionError"),
        ("import no_such_module\n", r"bad\.py, line 1: ModuleNotFoundError: .*no_such_module"),
        ("from jepa.config import Eksperiment\n", r"bad\.py, line 1: ImportError: .*Eksperiment"),
        ("x = len(3)\n", r"bad\.py, line 1: TypeError"),
        (
            "from jepa.envs.sliding_tiles import SlidingTiles\nSlidingTiles(rows=1)\n",
            r"bad\.py, line 2: ValueError: a board needs at least 2 rows",
        ),
        ("x = 1\n", r"bad\.py must define `config = Experiment\(\.\.\.\)`; its `config` is NoneType"),
        ("config = 3\n", r"its `config` is int"),
        (
            "from jepa.config import Experiment\nfrom jepa.envs.pocket_cube import PocketCube\n"
            "class Mine(Experiment): pass\nconfig = Mine(env=PocketCube())\n",
            r"bad\.py: Mine is defined in .*can only keep classes of the package",
        ),
    ],
)
def test_wrong_config_is_refused_with_its_line(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(source)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(Path("bad.py"))
    assert is_refusal(caught.value)


def test_bug_below_a_config_keeps_its_own_error(tmp_path, monkeypatch):
    def broken(self):
        raise AttributeError("a bug of the package")

    broken.__code__ = broken.__code__.replace(co_filename=config_module.__file__)
    monkeypatch.setattr(PocketCube, "__init__", broken)
    (tmp_path / "good.py").write_text("from jepa.envs.pocket_cube import PocketCube\nPocketCube()\n")
    with pytest.raises(AttributeError, match="a bug of the package"):
        load_config(tmp_path / "good.py")


def test_configs_import_those_beside_them_and_leave_nothing_behind(tmp_path):
    before = list(sys.path), set(sys.modules)
    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        parts = "from jepa.config import Experiment\nfrom jepa.envs.pocket_cube import PocketCube\n"
        parts += f"config = Experiment(env=PocketCube(), seed={seed})\n"
        (tmp_path / folder / "a_base.py").write_text(parts)
        variant = (
            "import dataclasses\nfrom a_base import config\nconfig = dataclasses.replace(config, num_transitions=28)"
        )
        (tmp_path / folder / "a_variant.py").write_text(variant)
        assert load_config(tmp_path / folder / "a_variant.py") == dataclasses.replace(
            EXPERIMENT, seed=seed, num_transitions=28
        )
    assert (list(sys.path), set(sys.modules)) == before


# ---- differences


def test_differences_are_exactly_the_changed_flags(shipped):
    assert differences(shipped, shipped) == {}
    for flag, value in leaves(shipped).items():
        other = changed(shipped, flag)
        assert differences(shipped, other) == {flag: f"{value} -> {leaves(other)[flag]}"}


def test_several_differences_and_changed_classes():
    old = Experiment(env=PocketCube(), agent=LatentPlanner(cost_training=Schedule(num_updates=50)))
    new = Experiment(
        env=SlidingTiles(), agent=LatentPlanner(planner=Greedy(), cost_training=Schedule(num_updates=100)), seed=3
    )
    assert differences(old, new) == {
        "env": "PocketCube -> SlidingTiles",
        "cost_training.num_updates": "50 -> 100",
        "planner": "BeamSearch -> Greedy",
        "seed": "0 -> 3",
    }


# ---- JSON from outside


def with_class(name: str) -> dict:
    return to_json(EXPERIMENT) | {"class": name}


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.dict",
        "antigravity.Antigravity",
        "jepa.config",
        "jepa.config.Path",
        "jepa.config.load_config",
        "jepa.config.no_such",
        "jepa.no_such.Experiment",
        "jepa.checkpoint.Checkpoints",
        "jepa.config.dataclasses.Field",
        "jepa..config.Experiment",
        "tests.test_config.Experiment",
        "",
        None,
        3,
    ],
)
def test_json_of_other_classes_is_refused_and_imports_nothing(name):
    before = set(sys.modules)
    with pytest.raises(ValueError):
        from_json(with_class(name))
    assert {module.split(".")[0] for module in set(sys.modules) - before}.isdisjoint(
        {"antigravity", "tests", "subprocess"}
    )


def test_json_with_other_fields_is_refused():
    content = to_json(EXPERIMENT)
    for damaged in (content | {"sede": 1}, {name: content[name] for name in content if name != "seed"}):
        with pytest.raises(ValueError, match=r"jepa\.config\.Experiment has no .* and needs"):
            from_json(damaged)


def test_json_from_before_a_field_was_added_is_read_as_it_was_then():
    content = to_json(ActorLearning(origin_fraction=0.25))
    del content["forward"]
    assert from_json(content) == ActorLearning(origin_fraction=0.25, forward=False)
    assert from_json(content | {"forward": True}).forward
    del content["origin_fraction"]
    with pytest.raises(ValueError, match=r"needs \['origin_fraction'\]"):
        from_json(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "0"),
        ("seed", 0.5),
        ("seed", None),
        ("seed", True),
        ("seed", [1]),
        ("num_transitions", {"class": "jepa.envs.pocket_cube.PocketCube"}),
        ("env", 3),
        ("env", {"class": "jepa.planners.random_shooting.RandomShooting"}),
        ("agent", None),
        ("evaluation", {"class": "jepa.evaluation.Evaluation", "num_problems": 0}),
    ],
)
def test_json_with_values_of_other_types_is_refused(field, value):
    with pytest.raises(ValueError):
        from_json(to_json(EXPERIMENT) | {field: value})


def test_abstract_class_in_json_is_refused():
    with pytest.raises(ValueError, match=r"jepa\.envs\.base\.Env cannot be built"):
        from_json({"class": "jepa.envs.base.Env"})


def test_whole_number_is_a_float():
    content = to_json(Schedule()) | {"learning_rate": 1}
    assert from_json(content).learning_rate == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], object()])
def test_only_what_json_holds_is_kept(value):
    with pytest.raises(ValueError, match="an experiment"):
        to_json(value)


# ---- debug


def test_debug_shrinks_sizes_and_nothing_else(shipped):
    small, sizes = debug(shipped), leaves(debug(shipped))
    assert {name.split(".")[-1] for name in differences(shipped, small)} <= {
        "num_updates", "updates_per_call", "batch_size", "states_per_walk", "num_walks", "num_transitions",
        "num_problems", "width", "hidden_width",
    }  # fmt: skip
    assert all(sizes[flag] <= size for flag, size in leaves(shipped).items() if isinstance(size, int))
    assert max(size for flag, size in sizes.items() if flag.endswith("num_updates")) <= 4
    assert small.num_transitions % small.behaviour.walk_length == 0


# ---- whose error it is

RAISING = """
def ours(): raise ValueError("expected this, got that")
def ours_with_cause():
    try: int("x")
    except ValueError as error: raise ValueError("told better") from error
def theirs(): int("x")
def deep(): import numpy; numpy.zeros(3) + numpy.zeros(4)
def other_type(): raise KeyError("x")
"""


@pytest.mark.parametrize(
    ("module", "function", "expected"),
    [
        ("jepa.fake", "ours", True),
        ("jepa.fake", "ours_with_cause", True),
        ("jepa.fake", "theirs", False),
        ("jepa.fake", "deep", False),
        ("jepa.fake", "other_type", False),
        ("jepafake", "ours", False),
        ("numpy", "ours", False),
    ],
)
@pytest.mark.parametrize("call", [lambda f: f(), lambda f: jax.jit(lambda x: f())(jnp.zeros(()))], ids=["plain", "jit"])
def test_refusal_is_a_value_error_raised_by_the_package(module, function, expected, call):
    scope = {"__name__": module}
    exec(compile(RAISING, "fake.py", "exec"), scope)
    with pytest.raises((ValueError, KeyError)) as caught:
        call(scope[function])
    assert is_refusal(caught.value) is expected


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "configs" / "comparison").glob("*.py")), ids=lambda path: path.stem
)
def test_configs_of_the_comparison_share_domain_data_and_problems(path):
    """Whatever the method: what it may learn from, and what it is graded on, are those of our own."""
    of_ours = [other for other in path.parent.glob("*_ours.py") if path.stem.startswith(other.stem[: -len("ours")])]
    (ours,), other = map(load_config, of_ours), load_config(path)
    assert dataclasses.replace(other, agent=ours.agent) == ours
