"""Figures of a run: a map of its latents, its cost against the truth, how far it sees, what search buys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jepa.agents.latent_planner import LatentPlanner
from jepa.compute_curve import search_size
from jepa.diagnostics import rollout_curve
from jepa.figures.latent_states import LatentStates
from jepa.figures.style import COLOURS, DISTANCES, MARKERS, Draw, require_matplotlib, write_figure
from jepa.metrics import spearman
from jepa.report import Report
from jepa.runs import Run
from jepa.statistics import classical_scaling

MAX_ROLLOUT = 32
"""Moves after which rollouts are no longer judged."""
MAX_ROLLOUT_PROBLEMS = 200
"""Test problems from whose starts rollouts begin."""
_UNKNOWN = "#bbbbbb"
_SAMPLED = {"pass_at_k_oracle": "pass@k (oracle)", "rerank_at_k": "rerank@k", "consensus_at_k": "consensus@k"}


def write_run_figures(run: Run, report: Report, states: LatentStates, folder: Path) -> list[Path]:
    """Writes the figures of an evaluation, each as PDF and PNG, and returns their paths.

    Args:
      run: what was graded.
      report: the results.
      states: what the plans pass.
      folder: where to; made if missing.

    Raises:
      ValueError: matplotlib is not installed, or the run is of a method without latents.
    """
    require_drawable(run)
    folder.mkdir(parents=True, exist_ok=True)
    paths = write_figure(_maps(states), folder / "latent_map")
    if (states.distances >= 0).any():
        paths += write_figure([("the cost against the truth", _predicted(states))], folder / "predicted_distance")
    return paths + write_figure(_rollouts(run, report), folder / "rollout_exactness")


def require_drawable(run: Run) -> None:
    """Raises ValueError if there is nothing to draw of a run, or nothing to draw it with."""
    require_matplotlib()
    if not isinstance(run.experiment.agent, LatentPlanner):
        raise ValueError(f"figures show a world model, which {type(run.experiment.agent).__name__} does not have")


def write_curve_figures(curve: dict[str, Any], folder: Path) -> list[Path]:
    """Writes success against test-time compute as PDF and PNG, and returns the paths.

    Args:
      curve: what curve.json holds.
      folder: where to; made if missing.

    Raises:
      ValueError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    panels = [("success against search", _search(curve["search"]))] if curve["search"] else []
    if curve["samples"]:
        panels.append(("success against sampled plans", _samples(curve["samples"])))
    return write_figure(panels, folder / "success_by_compute")


def _maps(states: LatentStates) -> Sequence[tuple[str, Draw]]:
    """Returns the latents in their main directions, and as the predicted distances between them place them."""
    centred = states.latents - states.latents.mean(axis=0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    share = float((scales[:2] ** 2).sum() / max((scales**2).sum(), 1e-30))
    if len(directions) < 2:
        directions = np.eye(2, states.latents.shape[1])
    panels = [(f"latents, {share:.0%} of variance", _scatter(centred @ directions[:2].T, states.distances))]
    if states.between is not None and len(states.between) > 2:
        places = classical_scaling((states.between + states.between.T) / 2)
        panels.append(("by predicted distances", _scatter(places, states.distances[: len(places)])))
    return panels


def _scatter(places: Float[np.ndarray, "M 2"], distances: Int[np.ndarray, " M"]) -> Draw:
    def draw(axis: Any) -> None:
        known = distances >= 0
        axis.scatter(*places[~known].T, s=5, color=_UNKNOWN, linewidths=0)
        if known.any():
            shown = axis.scatter(*places[known].T, s=7, c=distances[known], cmap=DISTANCES, linewidths=0)
            axis.figure.colorbar(shown, ax=axis, label="exact distance to the goal")
            nearest = places[distances == distances[known].min()]
            axis.scatter(
                *nearest[:1].T, s=60, marker="*", color=COLOURS[3], edgecolors="white", linewidths=0.5, zorder=3
            )
        axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axis.set_frame_on(False)

    return draw


def _predicted(states: LatentStates) -> Draw:
    """Returns predicted distances by exact ones: every state, and the middle half of those of equal distance."""
    known = states.distances >= 0
    exact, predicted = states.distances[known], states.predicted[known]

    def draw(axis: Any) -> None:
        jitter = np.random.default_rng(0).uniform(-0.18, 0.18, len(exact))
        axis.scatter(exact + jitter, predicted, s=3, color=COLOURS[0], alpha=0.25, linewidths=0)
        levels = np.unique(exact)
        quarters = np.array([np.quantile(predicted[exact == level], (0.25, 0.5, 0.75)) for level in levels])
        spread = np.abs(quarters[:, [0, 2]] - quarters[:, 1:2]).T
        axis.errorbar(
            levels, quarters[:, 1], yerr=spread, fmt="o", capsize=2, color=COLOURS[3], label="median, quartiles"
        )
        axis.plot(levels, levels, color=COLOURS[-1], linewidth=0.8, linestyle="--", label="exact")
        axis.set(xlabel="exact distance to the goal", ylabel="predicted")
        if len(levels) > 1:
            rank = spearman(predicted, exact)
            axis.text(0.03, 0.97, f"rank correlation {rank:.3f}", transform=axis.transAxes, va="top")

    return draw


def _rollouts(run: Run, report: Report) -> Sequence[tuple[str, Draw]]:
    """Returns how many rollouts of random moves are exact after each number of moves, and their mean squared error."""
    env, agent = run.experiment.env, run.experiment.agent
    world_model, _ = agent.modules(env, run.params)
    lengths = tuple(range(1, min(agent.planner.horizon, MAX_ROLLOUT) + 1))
    starts = jnp.asarray(report.problems.start[:MAX_ROLLOUT_PROBLEMS])
    key = jax.random.key(run.experiment.evaluation.problem_seed)
    curve = jax.jit(lambda starts: rollout_curve(env, world_model, starts, key, lengths))(starts)
    curve = {name: np.asarray(values) for name, values in curve.items()}
    kinds = {"rollout": "uninterrupted", "reencoded_rollout": "re-encoded before the last move"}

    def accuracy(axis: Any) -> None:
        for index, (kind, label) in enumerate(kinds.items()):
            look = dict(color=COLOURS[index], marker=MARKERS[index], label=label)
            axis.plot(lengths, curve[f"{kind}_accuracy"], **look)
        axis.set(xlabel="moves predicted", ylabel="exact rollouts", ylim=(-0.03, 1.03))

    def error(axis: Any) -> None:
        for index, kind in enumerate(kinds):
            values = np.maximum(curve[f"{kind}_error"], 1e-12)  # Of 0 there is no logarithm.
            axis.plot(lengths, values, color=COLOURS[index], marker=MARKERS[index])
        axis.axhline(2.0, color=COLOURS[-1], linewidth=0.8, linestyle="--", label="unrelated latents")
        axis.set(xlabel="moves predicted", ylabel="mean squared error", yscale="log")

    return [("rollouts in latent space", accuracy), ("their error", error)]


def _search(points: Sequence[dict[str, Any]]) -> Draw:
    def draw(axis: Any) -> None:
        nodes = [point["mean_nodes_generated"] for point in points]
        solved = np.array([point["solved_fraction"] for point in points])
        ends = np.array([[point["solved_fraction_95_low"], point["solved_fraction_95_high"]] for point in points])
        error = np.maximum(0.0, (ends - solved[:, None]) * [-1.0, 1.0]).T
        axis.errorbar(nodes, solved, yerr=error, fmt="o-", capsize=2, color=COLOURS[0])
        for point, x, y in zip(points, nodes, solved, strict=True):
            name, size = search_size(point)
            axis.annotate(
                f"{name} {size:,}" if point is points[0] else f"{size:,}",
                (x, y),
                textcoords="offset points",
                xytext=(4, -9),
                color=COLOURS[0],
            )
        axis.set(xscale="log", xlabel="nodes per problem", ylabel="solved", ylim=(-0.03, 1.03))

    return draw


def _samples(samples: dict[str, Any]) -> Draw:
    def draw(axis: Any) -> None:
        for index, (name, label) in enumerate(_SAMPLED.items()):
            look = dict(color=COLOURS[index], marker=MARKERS[index], label=label)
            if name.startswith("pass"):  # Often the same as rerank@k, which must not hide it.
                look |= dict(linestyle="--", markersize=7.0, markerfacecolor="none", zorder=3)
            axis.plot(samples["k"], samples[name], **look)
        axis.set(xscale="log", xlabel="sampled plans per problem", ylabel="solved", ylim=(-0.03, 1.03))

    return draw
