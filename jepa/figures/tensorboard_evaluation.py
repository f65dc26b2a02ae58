"""An evaluation for TensorBoard: plans as pictures, latents in the projector, results by hyper-parameters."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.config import to_json
from jepa.envs.base import actions_of_plan, replay
from jepa.figures.boards import board_png
from jepa.figures.latent_states import LatentStates
from jepa.figures.style import has_matplotlib
from jepa.page.stories import choose
from jepa.report import Report
from jepa.run_log import write_atomic
from jepa.runs import Run
from jepa.tensorboard_log import TensorBoard

NUM_PLANS = 8
"""Plans that are shown, failures first."""
MAX_STATES_SHOWN = 16
"""States of one plan that are shown: its first ones."""
_METRICS = (
    "solved_fraction mean_plan_length optimal_fraction mean_nodes_generated seconds_per_problem false_claim_fraction "
    "exact_model_solved_fraction random_solved_fraction cost_spearman sibling_ranking_accuracy effective_rank "
    "training_seconds num_transitions num_parameters"
).split()
_PROJECTOR = """embeddings {
  tensor_name: "latents"
  tensor_path: "latents.tsv"
  metadata_path: "metadata.tsv"
}
"""


def show_evaluation(run: Run, report: Report, states: LatentStates | None, folder: Path) -> None:
    """Writes what TensorBoard shows of an evaluation, in place of an earlier one.

    Args:
      run: what was graded.
      report: the results.
      states: what the plans pass; None for agents without latents.
      folder: a run of TensorBoard's, made if missing.

    Raises:
      ValueError: the disk does not take it.
    """
    for old in folder.glob("events*"):
        old.unlink()
    board = TensorBoard(folder, -1)
    metrics = {name: float(report.summary[name]) for name in _METRICS if report.summary.get(name) is not None}
    board.write_hyperparameters(dict(_flat(to_json(run.experiment))), metrics)
    if has_matplotlib():
        _show_plans(run, report, board)
    board.close()
    if states is not None:
        _write_projector(states, folder)


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float | str | bool]]:
    """Yields the values of a nested configuration by their paths; what is no number is spelled out."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value if isinstance(value, float | int | bool | str) else str(value)


def _show_plans(run: Run, report: Report, board: TensorBoard) -> None:
    env, records = run.experiment.env, report.records
    for number in choose(records, NUM_PLANS):
        goal = jax.tree.map(lambda leaf, number=number: np.asarray(leaf[number]), report.problems.goal)
        actions = actions_of_plan(records.actions[number])[: MAX_STATES_SHOWN - 1]
        states, _ = replay(env, report.problems.start[number], actions)
        titles = ["start", *(env.action_names[action] for action in actions)]
        picture = board_png([env.draw(state, goal) for state in states], titles)
        verdict = "solved" if records.solved[number] else "not_solved"
        board.write_image(0, f"plans/{number}_{verdict}", *picture)


def _write_projector(states: LatentStates, folder: Path) -> None:
    """Writes latents with what is known of them, as the embedding projector reads them."""
    rows = ("\t".join(f"{value:.5g}" for value in latent) for latent in states.latents)
    write_atomic(folder / "latents.tsv", ("\n".join(rows) + "\n").encode())
    lines = ["exact distance\tpredicted distance\tproblem\tactions before"]
    for distance, predicted, problem, place in zip(
        states.distances, states.predicted, states.problems, states.places, strict=True
    ):
        lines.append(f"{distance if distance >= 0 else 'unknown'}\t{predicted:.3f}\t{problem}\t{place}")
    write_atomic(folder / "metadata.tsv", ("\n".join(lines) + "\n").encode())
    write_atomic(folder / "projector_config.pbtxt", _PROJECTOR.encode())
