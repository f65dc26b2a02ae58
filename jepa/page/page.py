"""Writes an evaluation as one HTML file: pictures, charts and controls, with everything that it needs inside."""

import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jepa.drawing import COLOURS, Drawing
from jepa.envs.base import Env, GoalKind
from jepa.evaluation import Evaluation, solve
from jepa.mesh import data_mesh
from jepa.page.search_maps import SearchMap
from jepa.page.stories import Story, choose, tell
from jepa.report import Report
from jepa.runs import Run
from jepa.types import Problem

_COLOURS = sorted(COLOURS)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_page(run: Run, report: Report, path: Path, num_problems: int = 20) -> None:
    """Writes the page of an evaluation.

    Args:
      run: what was graded.
      report: the results.
      path: the file to write.
      num_problems: how many of the test problems are told, failures first.
    """
    stories = tell(run, report.problems, report.records, choose(report.records, num_problems))
    _write(page(run, _facts(report.summary), stories, report.evidence.refutations), path)


def write_plan_page(run: Run, problem: Problem, path: Path) -> None:
    """Writes a page for one problem, a batch of one, for which it plans anew."""
    env, agent = run.experiment.env, run.experiment.agent
    records = solve(env, agent.plan_function(env), run.params, problem, Evaluation(), data_mesh())
    facts = [
        ("moves", str(records.plan_lengths[0])),
        ("nodes", f"{records.num_nodes_generated[0]:,}"),
        ("planning", f"{records.seconds_per_problem:.3f} s"),
        ("training", f"{run.training_seconds:,.0f} s"),
        ("moves seen", f"{run.num_transitions:,}"),
    ]
    single = jax.tree.map(lambda leaf: np.asarray(leaf)[0], problem)
    refutations = [None if records.solved[0] else env.refutation(single)]
    _write(page(run, facts, tell(run, problem, records, [0]), refutations), path)


def _write(html: str, path: Path) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(html, encoding="utf-8")
    unfinished.replace(path)


def page(
    run: Run, facts: Sequence[tuple[str, str]], stories: Sequence[Story], refutations: Sequence[str | None]
) -> str:
    """Returns a page as text.

    Args:
      run: whose plans it tells.
      facts: names of figures and the figures, for its head.
      stories: what it tells.
      refutations: for every test problem why it has no solution, or None.
    """
    canvas, env = _Canvas(), run.experiment.env
    data = {
        "title": f"{_words(type(run.experiment.agent).__name__)} on {_words(env.name)}",
        "facts": facts,
        "colours": _COLOURS,
        "stories": [_story(env, story, refutations[story.number], canvas) for story in stories],
        **canvas.tables(),
    }
    # Inside a script element nothing but "</" and "<!--" could end it; no "<" is left.
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    assets = resources.files("jepa.page") / "assets"
    html = (assets / "page.html").read_text("utf-8")
    for name, content in (
        ("title", _escaped(data["title"])),
        ("style", (assets / "page.css").read_text("utf-8")),
        ("script", "".join((assets / name).read_text("utf-8") for name in ("charts.js", "page.js"))),
        ("data", text),
    ):
        html = html.replace(f"<!-- {name} -->", content)
    return html


class _Canvas:
    """Drawings of all states that are shown, each stored once, and what they have in common stored once, too."""

    def __init__(self):
        self.drawings: dict[str, int] = {}
        self.texts: list[str] = []
        self.actions: dict[str, int] = {}
        self.geometries: dict[str, int] = {}
        self.outlines: dict[str, int] = {}
        self.labels: dict[str, int] = {"": 0}

    def add(self, drawing: Drawing, text: str) -> int:
        """Returns the number of a drawing; the text says the same to those who do not see it."""
        places = [
            [_number(self.outlines, shape.outline), round(shape.x, 3), round(shape.y, 3), shape.label_size, shape.key]
            for shape in drawing.shapes
        ]
        geometry = json.dumps([round(drawing.width, 3), round(drawing.height, 3), places], separators=(",", ":"))
        fills = "".join(_LETTERS[_COLOURS.index(shape.fill)] for shape in drawing.shapes)
        labels = [_number(self.labels, shape.label) for shape in drawing.shapes]
        parts = [_number(self.geometries, geometry), fills, labels if any(labels) else 0]
        number = _number(self.drawings, json.dumps(parts, separators=(",", ":")))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def name(self, action: str) -> int:
        """Returns the number of the words for an action."""
        return _number(self.actions, action)

    def tables(self) -> dict[str, list[Any]]:
        """Returns what drawings refer to by number."""
        return {
            "drawings": [json.loads(text) for text in self.drawings],
            "texts": self.texts,
            "actions": list(self.actions),
            "geometries": [json.loads(text) for text in self.geometries],
            "outlines": list(self.outlines),
            "labels": list(self.labels),
        }


def _number(table: dict[str, int], entry: str) -> int:
    return table.setdefault(entry, len(table))


def _facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns what heads the page: names of figures, and the figures."""
    low, high = summary["solved_fraction_95_low"], summary["solved_fraction_95_high"]
    facts = [
        ("solved", f"{summary['solved_fraction']:.1%} of {summary['num_problems']:,} ({low:.1%} to {high:.1%})"),
        ("false claims", f"{summary['false_claim_fraction']:.1%}"),
    ]
    if summary["mean_plan_length"] is not None:
        shortest = summary["mean_optimal_length"]
        behind = "" if shortest is None else f", shortest {shortest:.2f}"
        facts.insert(1, ("moves", f"{summary['mean_plan_length']:.2f}{behind}"))
    if "exact_model_solved_fraction" in summary:
        facts.append(("on the exact model", f"{summary['exact_model_solved_fraction']:.1%}"))
    return [
        *facts,
        ("random plans", f"{summary['random_solved_fraction']:.1%}"),
        ("nodes", f"{summary['mean_nodes_generated']:,.0f}"),
        ("planning", f"{summary['seconds_per_problem']:.3f} s"),
        ("training", f"{summary['training_seconds']:,.0f} s"),
        ("moves seen", f"{summary['num_transitions']:,}"),
    ]


def _story(env: Env, story: Story, refutation: str | None, canvas: _Canvas) -> dict[str, Any]:
    def drawn(states: Int[np.ndarray, "states N"]) -> list[int]:
        return [canvas.add(env.draw(state, story.goal), _text(env, state)) for state in states]

    described = map(env.describe_action, story.states, story.actions.tolist())
    goal = drawn(np.asarray(story.goal.tokens)[None])[0] if env.goal_kind is GoalKind.STATE else None
    return {
        "number": story.number,
        "outcome": "refuted" if refutation and not story.claims_solved else story.outcome,
        "actions": [canvas.name(words) for words in described],
        "illegal": np.flatnonzero(~story.is_legal).tolist(),
        "states": drawn(story.states),
        "imagined": None if story.imagined is None else drawn(story.imagined),
        "goal": goal,
        "target": env.render_goal(story.goal),
        "parting": story.parting,
        "differences": None if story.differences is None else _rounded(story.differences, 3),
        "costs": _rounded(story.predicted_costs, 2),
        "distances": [int(distance) if distance >= 0 else None for distance in story.distances],
        "optimal": story.optimal_length if story.optimal_length >= 0 else None,
        "nodes": story.num_nodes,
        "search": None if story.search is None else _search(story.search),
        "words": refutation,
    }


def _text(env: Env, state: Int[np.ndarray, " N"]) -> str:
    """Returns a state as text; of what a model imagines and cannot be, why it cannot."""
    reason = env.invalid_reason(state)
    return env.render(state) if reason is None else f"no state: {reason}"


def _search(found: SearchMap) -> dict[str, Any]:
    """Returns a map for JSON: each ply as the places of its nodes, in thousandths, and then their costs."""
    return {
        "plies": [[np.round(1000 * ply[:, 0]).astype(int).tolist(), _rounded(ply[:, 1], 1)] for ply in found.plies],
        "held": found.num_nodes,
        "path": np.round(1000 * found.path).astype(int).tolist(),
        "goals": np.round(1000 * found.goals).astype(int).tolist(),
        "explained": round(found.explained, 3),
    }


def _rounded(values: np.ndarray, digits: int) -> list[float | None]:
    """Returns numbers for JSON, which has no NaN and no infinity."""
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


def _words(name: str) -> str:
    """Returns a name of code as words: `LatentPlanner` as `Latent planner`, `pocket_cube` as `pocket cube`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")
    return spaced[:1] + spaced[1:].lower() if spaced[:1].isupper() else spaced


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
