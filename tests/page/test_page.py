"""The page of an evaluation: what it tells is true, nothing of it comes from elsewhere, every control works."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jepa.agents.latent_planner import LatentPlanner
from jepa.agents.random_plans import RandomPlans
from jepa.config import Experiment
from jepa.costs.learning import CostStage
from jepa.encoders.linear import LinearEncoder
from jepa.envs.base import Env
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, PlanRecords, load_problems
from jepa.page.page import page, write_page
from jepa.page.stories import choose, tell
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NoReidentification
from jepa.runs import Run
from jepa.training import WorldModelStage
from jepa.world_model import WorldModel
from tests.page.pages import report_of, run_of

ENV = SlidingTiles(rows=2, columns=3)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def untrained(agent: LatentPlanner, env: Env = ENV) -> Run:
    """A run whose parameters are random: what it imagines is wrong, and the page must say so."""
    world_model = agent.world_model.build(env, jax.random.key(0))
    sizes = dict(latent_width=world_model.encoder.latent_width, num_slots=world_model.encoder.num_slots)
    cost = agent.cost.head.build(**sizes, rngs=nnx.Rngs(0))
    modules = {WorldModelStage.name: world_model, CostStage.name: cost}
    params = {name: nnx.to_pure_dict(nnx.split(module)[1]) for name, module in modules.items()}
    return run_of(Experiment(env=env, agent=agent), params)


SLOTS = LatentPlanner(planner=BeamSearch(width=4, horizon=6))
FLAT = dataclasses.replace(
    SLOTS,
    world_model=WorldModel(
        encoder=LinearEncoder(latent_width=16), predictor=OperatorPredictor(), reidentification=NoReidentification()
    ),
)


@pytest.fixture(scope="module")
def problems():
    return load_problems(ENV, Evaluation(num_problems=4))


@pytest.fixture(scope="module")
def records(problems):
    """A shortest plan, a false claim with an illegal action in it, an honest failure, and nothing."""
    lengths = np.asarray(ENV.optimal_lengths(problems))
    actions = np.full((4, int(lengths.max())), -1)
    state = np.asarray(problems.start[0])
    for place in range(lengths[0]):
        following = [np.asarray(ENV.step(jnp.asarray(state), jnp.int32(action))) for action in range(4)]
        goals = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf[0])] * 4), problems.goal)
        left = ENV.optimal_lengths(type(problems)(start=np.stack(following), goal=goals))
        actions[0, place] = int(np.argmin(left))
        state = following[actions[0, place]]
    illegal = int(np.argmin(np.asarray(ENV.legal_actions(jnp.asarray(problems.start[1])))))
    actions[1, :3] = [illegal, (illegal + 1) % 4, (illegal + 2) % 4]
    actions[2, :2] = [0, 1]
    costs = np.full((4, actions.shape[1] + 1), np.nan)
    costs[:, :2] = [[3.5, 2.0]] * 4
    return PlanRecords(
        actions=actions,
        predicted_costs=costs,
        claims_solved=np.array([True, True, False, False]),
        solved=np.array([True, False, False, False]),
        plan_lengths=(actions >= 0).sum(axis=1),
        optimal_lengths=lengths,
        num_nodes_generated=np.array([10, 20, 30, 40]),
        seconds_per_problem=0.5,
    )


def test_failures_are_told_first_and_false_claims_before_all(records):
    assert choose(records, 4) == [1, 2, 0]
    assert choose(records, 1) == [1]
    all_solved = dataclasses.replace(records, solved=np.ones(4, bool))
    chosen = choose(all_solved, 2)
    assert chosen[0] == int(records.plan_lengths.argmax())
    assert len(chosen) == len(set(chosen)) == 2


@pytest.mark.parametrize("agent", [SLOTS, pytest.param(FLAT, marks=pytest.mark.slow)], ids=["slots", "flat"])
def test_stories_tell_what_happens_on_the_exact_dynamics(agent, problems, records):
    stories = tell(untrained(agent), problems, records, [0, 1])
    right, false = stories
    assert right.outcome == "optimal"
    assert right.distances.tolist() == list(range(len(right.actions), -1, -1))
    assert (right.states[-1] == np.asarray(problems.goal.tokens[0])).all()
    assert false.outcome == "false_claim"
    assert not false.is_legal[0]
    assert (false.states[0] == false.states[1]).all()
    # What an untrained model imagines is wrong at once, but the start is encoded and not imagined.
    for story in stories:
        assert story.differences[0] == 0
        assert (story.imagined[0] == story.states[0]).all()
        assert story.parting is not None and story.parting >= 1
        assert story.differences[story.parting] > 0


def test_a_search_is_watched_ply_by_ply(problems, records):
    (story,) = tell(untrained(SLOTS), problems, records, [0])
    found = story.search
    assert len(found.plies) == len(found.num_nodes) <= SLOTS.planner.horizon + 1
    assert found.num_nodes[0] == 1
    assert max(found.num_nodes) <= SLOTS.planner.width
    everything = np.concatenate([ply[:, 0] for ply in found.plies] + [found.path, found.goals])
    assert abs(everything.min()) < 1e-6 and abs(everything.max() - 1) < 1e-6
    # The start costs what the agent's own cost head says of it.
    run = untrained(SLOTS)
    model, start, goals = SLOTS.planning_inputs(ENV, run.params, jax.tree.map(lambda leaf: leaf[:1], problems))
    np.testing.assert_allclose(found.plies[0][0, 1], model.cost(start[:, None], goals)[0, 0], rtol=1e-4)
    assert len(found.path) == len(story.actions) + 1
    assert 0 <= found.explained <= 1


def test_who_imagines_nothing_is_told_without(problems, records):
    run = dataclasses.replace(untrained(SLOTS), experiment=Experiment(env=ENV, agent=RandomPlans()))
    (story,) = tell(run, problems, records, [0])
    assert story.imagined is None and story.search is None and story.parting is None
    assert "What happened" in page(run, [("solved", "100%")], [story], [None] * 4)


@pytest.fixture(scope="module")
def file(problems, records, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(untrained(SLOTS), report_of(problems, records), path)
    return path


def test_nothing_of_the_page_comes_from_elsewhere(file):
    text = file.read_text("utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", text)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert not list(file.parent.glob("*.unfinished"))


def test_data_are_json_and_cannot_end_their_element(file):
    text = file.read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1)
    assert "<" not in data
    read = json.loads(data)
    assert [story["outcome"] for story in read["stories"]] == ["false_claim", "unsolved", "unsolved", "optimal"]
    assert len(read["texts"]) == len(read["drawings"])
    assert sorted(read["texts"][read["stories"][0]["goal"]].split()) == sorted("12345.")
    for story in read["stories"]:
        assert len(story["states"]) == len(story["imagined"]) == len(story["actions"]) + 1
        for number in (*story["states"], *story["imagined"], story["goal"]):
            geometry, fills, _ = read["drawings"][number]
            assert len(read["geometries"][geometry][2]) == len(fills)


STEPS_THROUGH = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => errors.push("policy " + event.blockedURI));
addEventListener("load", () => {
  const id = (name) => document.getElementById(name), click = (name) => id(name).click();
  const status = () => id("status").textContent, said = [];
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  for (const button of document.querySelectorAll("#problems button")) {
    button.click();
    said.push(id("heading").textContent, status());
    click("forward"); said.push(status());
    click("back"); said.push(status());
    press("ArrowRight"); said.push(status());
    press("End"); said.push(status());
    click("first"); said.push(status());
    id("slider").value = 1; id("slider").dispatchEvent(new Event("input")); said.push(status());
    document.querySelector("#plan li:last-child button")?.click(); said.push(status());
    click("play"); said.push(id("play").getAttribute("aria-label")); click("play");
    said.push(id("play").getAttribute("aria-label"));
  }
  press("ArrowUp"); said.push(id("heading").textContent);
  location.hash = "#1/2"; dispatchEvent(new Event("hashchange")); said.push(status());
  const unnamed = [...document.querySelectorAll("button, input, svg[role=img]")]
    .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim())).length;
  const wide = document.documentElement.scrollWidth > innerWidth;
  const shapes = document.querySelectorAll("#real .shape").length;
  document.title = JSON.stringify({ errors, said, unnamed, wide, shapes });
});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [360, 1200])
def test_every_control_works_in_a_browser(file, tmp_path, width):
    stepped = tmp_path / "stepped.html"
    stepped.write_text(file.read_text("utf-8").replace("<body>", f"<body>{STEPS_THROUGH}"), "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *flags, f"--window-size={width},900", "--dump-dom", stepped.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1)
    found = json.loads(title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert found["errors"] == []
    assert found["unnamed"] == 0
    assert not found["wide"]
    assert found["shapes"] == 5
    story = found["said"][:11]
    assert "claims the goal falsely" in story[0] and "part at step" in story[0]
    assert [text.split(".")[0].split(",")[0] for text in story[1:9]] == [
        "Step 0 of 3", "Step 1 of 3", "Step 0 of 3", "Step 1 of 3", "Step 3 of 3", "Step 0 of 3", "Step 1 of 3",
        "Step 3 of 3",
    ]  # fmt: skip
    assert "not possible here" in story[2]
    assert story[9:] == ["Pause", "Play"]
    assert "not solved" in found["said"][-2]
    assert found["said"][-1].startswith("Step 2 of 3")
