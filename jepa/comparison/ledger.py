"""The ledger of a comparison: what every cell was charged for, a line of CSV each."""

import csv
import io
from collections.abc import Sequence

from jepa.comparison.archive import Result

LEDGER = (
    "num_problems", "solved_fraction", "mean_plan_length", "mean_optimal_length", "optimal_fraction",
    "mean_nodes_generated", "training_verifier_calls", "mean_planning_verifier_calls",
    "num_gradient_samples", "num_parameters", "training_seconds",
    "seconds_per_problem", "false_claim_fraction", "exact_model_solved_fraction", "random_solved_fraction",
)  # fmt: skip
"""Columns of comparison.csv that are taken from summary.json."""


def ledger(results: Sequence[Result]) -> str:
    """Returns one line of CSV per cell with all that it was charged for; unknown is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    own = ("config", "method", "domain", "budget", "num_transitions", "seed", "status", "jobs")
    machine = ("device_kind", "num_cpus", "git_commit")
    writer.writerow([*own, *LEDGER, *machine])
    for result in results:
        summary = result.results.summary if result.results else {}
        provenance = summary.get("provenance", {})
        budget = (result.num_transitions, summary.get("num_transitions"))
        values = [result.config, result.method, result.domain, *budget, result.seed, result.status, result.jobs]
        values += [summary.get(name) for name in LEDGER]
        writer.writerow([*values, *(provenance.get(name) for name in machine)])
    return file.getvalue()
