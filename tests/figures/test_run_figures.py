"""Figures and TensorBoard's view of an evaluation: they show what was measured, and can be read back."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.agents.latent_planner import planning_model
from jepa.agents.random_plans import RandomPlans
from jepa.drawing import Drawing, Shape, circle, polygon, rectangle
from jepa.envs.countdown import Countdown
from jepa.evaluation import Evaluation
from jepa.figures.boards import board_png, palette
from jepa.figures.latent_states import gather_states
from jepa.figures.run_figures import require_drawable, write_curve_figures, write_run_figures
from jepa.figures.tensorboard_evaluation import show_evaluation
from jepa.report import Report, evaluate_run
from jepa.runs import Run
from jepa.types import Problem
from tests.page.test_page import ENV, SLOTS, untrained

NUM_PROBLEMS = 12


@pytest.fixture(scope="module")
def run() -> Run:
    run = untrained(SLOTS)
    evaluation = Evaluation(num_problems=NUM_PROBLEMS)
    return dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, evaluation=evaluation))


@pytest.fixture(scope="module")
def report(run) -> Report:
    """A real evaluation, but with plans of random actions, as the untrained agent hardly finds any."""
    report = evaluate_run(run, lambda phase, done, count: None)
    generator = np.random.default_rng(0)
    actions = generator.integers(ENV.num_actions, size=report.records.actions.shape)
    lengths = generator.integers(1, actions.shape[1] + 1, size=NUM_PROBLEMS)
    actions[np.arange(actions.shape[1]) >= lengths[:, None]] = -1
    return dataclasses.replace(
        report, records=dataclasses.replace(report.records, actions=actions, plan_lengths=lengths)
    )


@pytest.fixture(scope="module")
def states(run, report):
    return gather_states(run, report.problems, report.records)


# What the figures are drawn from.


def test_states_are_those_that_the_plans_pass_each_once(report, states):
    passed = set()
    for start, actions in zip(report.problems.start, report.records.actions, strict=True):
        state = jnp.asarray(start)
        passed.add(tuple(state.tolist()))
        for action in actions[actions >= 0]:
            state = ENV.step(state, jnp.int32(action))
            passed.add(tuple(state.tolist()))
    assert len(passed) > NUM_PROBLEMS
    assert sorted(map(tuple, states.tokens.tolist())) == sorted(passed)
    starts = states.places == 0
    assert (states.tokens[starts] == report.problems.start[states.problems[starts]]).all()


def test_distances_are_exact_and_costs_those_of_the_model(run, report, states):
    goal = jax.tree.map(lambda leaf: np.repeat(leaf[:1], len(states.tokens), axis=0), report.problems.goal)
    assert (states.distances == ENV.optimal_lengths(Problem(start=states.tokens, goal=goal))).all()
    world_model, cost = run.experiment.agent.modules(ENV, run.params)
    np.testing.assert_allclose(states.latents, world_model.encode(jnp.asarray(states.tokens)), atol=1e-5)
    model = planning_model(world_model, cost)
    goals = world_model.encode(jnp.asarray(goal.tokens))[:, None]
    np.testing.assert_allclose(
        states.predicted, model.cost(jnp.asarray(states.latents)[:, None], goals)[:, 0], atol=1e-4
    )
    first, second = jnp.asarray(states.latents[:2])
    expected = model.cost(first[None, None], second[None, None])[0, 0]
    np.testing.assert_allclose(states.between[0, 1], expected, atol=1e-4)


def test_distances_that_the_clock_leaves_no_time_for_are_unknown(run, report, monkeypatch):
    monkeypatch.setattr("jepa.figures.latent_states.SECONDS_FOR_DISTANCES", -1.0)
    states = gather_states(run, report.problems, report.records)
    assert (states.distances == -1).all()


@pytest.mark.slow
def test_where_goals_are_no_states_nothing_is_compared():
    env = Countdown()
    agent = dataclasses.replace(SLOTS, planner=dataclasses.replace(SLOTS.planner, horizon=3))
    run = untrained(agent, env)
    run = dataclasses.replace(
        run, experiment=dataclasses.replace(run.experiment, evaluation=Evaluation(num_problems=3))
    )
    report = evaluate_run(run, lambda phase, done, count: None)
    assert gather_states(run, report.problems, report.records).between is None


# Figures.


def test_figures_are_written_and_the_same_results_give_the_same_files(run, report, states, tmp_path):
    pytest.importorskip("matplotlib")
    first = write_run_figures(run, report, states, tmp_path / "a")
    assert [path.name for path in first] == [
        f"{name}.{kind}"
        for name in ("latent_map", "predicted_distance", "rollout_exactness")
        for kind in ("pdf", "png")
    ]
    second = write_run_figures(run, report, states, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_success_by_compute_is_drawn_from_a_curve(tmp_path):
    pytest.importorskip("matplotlib")
    point = {"solved_fraction": 0.5, "solved_fraction_95_low": 0.4, "solved_fraction_95_high": 0.6}
    search = [point | {"scale": scale, "width": 4 * scale, "mean_nodes_generated": 10.0 * scale} for scale in (1, 2)]
    samples = {"k": [1, 2], "pass_at_k_oracle": [0.1, 0.2], "rerank_at_k": [0.1, 0.2], "consensus_at_k": [0.1, 0.1]}
    for curve in ({"search": search, "samples": samples}, {"search": [], "samples": samples}):
        paths = write_curve_figures(curve, tmp_path / "figures")
        assert [path.name for path in paths] == ["success_by_compute.pdf", "success_by_compute.png"]
        assert all(path.stat().st_size > 1000 for path in paths)


def test_what_cannot_be_drawn_is_refused_before_anything_is_graded(run, monkeypatch):
    other = dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, agent=RandomPlans()))
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="a world model, which RandomPlans does not have"):
        require_drawable(other)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match="figures need matplotlib, which is not installed: pip install"):
        require_drawable(run)


def pixels(png: bytes, folder: Path) -> np.ndarray:
    image = pytest.importorskip("matplotlib.image")
    (folder / "picture.png").write_bytes(png)
    return np.round(255 * image.imread(folder / "picture.png")[..., :3]).astype(int)


def colour(name: str) -> list[int]:
    return [int(palette()[name][place : place + 2], 16) for place in (1, 3, 5)]


@pytest.mark.parametrize(
    ("outline", "filled"),
    [
        (rectangle(2.0, 2.0), 1.0),
        (rectangle(2.0, 2.0, 0.5), 0.95),
        (circle(1.0), np.pi / 4),
        (polygon([(-1, -1), (1, -1), (1, 1)]), 0.5),
    ],
    ids=["rectangle", "rounded", "circle", "triangle"],
)
def test_shapes_cover_what_they_should(outline, filled, tmp_path):
    pytest.importorskip("matplotlib")
    back = Shape(outline=rectangle(2.0, 2.0), x=1, y=1, fill="blue")
    drawing = Drawing(width=2, height=2, shapes=(back, Shape(outline=outline, x=1, y=1, fill="red")))
    png, width, height = board_png([drawing], [""])
    found = pixels(png, tmp_path)
    assert found.shape[:2] == (height, width)
    red, blue = ((np.abs(found - colour(name)).max(axis=-1) < 30).sum() for name in ("red", "blue"))
    assert red / (red + blue) == pytest.approx(filled, abs=0.06)


def test_outlines_that_nobody_can_draw_are_refused():
    pytest.importorskip("matplotlib")
    drawing = Drawing(width=1, height=1, shapes=(Shape(outline="M0 0C1 1 2 2 3 3", x=0, y=0, fill="red"),))
    with pytest.raises(ValueError, match="commands M, L, H, V, Q, a and Z, came 'M0 0C1"):
        board_png([drawing], [""])


# TensorBoard.


def test_tensorboard_shows_plans_results_and_latents(run, report, states, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    show_evaluation(run, report, states, tmp_path)
    show_evaluation(run, report, states, tmp_path)  # The second takes the place of the first.
    assert len(list(tmp_path.glob("events*"))) == 1
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Scalars("solved_fraction")[0].value == pytest.approx(report.summary["solved_fraction"])
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["agent.planner.width"].number_value == run.experiment.agent.planner.width
    assert values["env.class"].string_value.endswith("SlidingTiles")
    latents = np.loadtxt(tmp_path / "latents.tsv", delimiter="\t")
    np.testing.assert_allclose(latents, states.latents, rtol=1e-3, atol=1e-3)
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["exact distance", *map(str, states.distances.tolist())]
    assert 'tensor_path: "latents.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()


def test_tensorboard_shows_failures_first_as_pictures(run, report, tmp_path):
    pytest.importorskip("matplotlib")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    show_evaluation(run, report, None, tmp_path)
    assert not (tmp_path / "latents.tsv").exists()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    names = events.Tags()["images"]
    assert any(name.endswith("not_solved") for name in names) == (not report.records.solved.all())
    picture = events.Images(names[0])[0]
    assert pixels(picture.encoded_image_string, tmp_path).shape[:2] == (picture.height, picture.width)
