"""The command line `eval.py curve RUN`: success against test-time compute."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich.table
import tyro
from rich import box
from rich.console import Console

from jepa.cli import parse_flags
from jepa.compute_curve import Curve, grade_curve, search_size
from jepa.console import progress
from jepa.figures.run_figures import write_curve_figures
from jepa.figures.style import require_matplotlib
from jepa.processes import Watchdog
from jepa.report import require_writable
from jepa.run_log import write_json_atomic
from jepa.runs import load_run, read_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveCommand(Curve):
    """What `eval.py curve` is to do."""

    folder: tyro.conf.Positional[Path]
    """A run folder, such as runs/pocket_cube/seed0."""
    num_problems: int | None = None
    """Test problems; the run's own number if not given."""
    problems: Path | None = None
    """A file of problems instead of drawn ones."""
    output_dir: Path | None = None
    """Folder of curve.json; the run folder if not given."""
    figures: bool = False
    """Also write a figure there, as PDF and PNG."""


def grade_compute(arguments: Sequence[str]) -> int:
    """Grades a run with searches of several sizes, and with sampled plans; prints a table and writes curve.json.

    Returns:
      The exit status, 0.

    Raises:
      ValueError: the run, the test problems or a flag is wrong; the message says what is expected.
    """
    about = "Grades a trained run with searches of several sizes, and with sampled plans: success by test-time compute."
    command = parse_flags(CurveCommand, arguments, "curve", about)
    experiment = read_config(command.folder)
    changes = {"num_problems": command.num_problems, "problems": command.problems}
    changes = {name: value for name, value in changes.items() if value is not None}
    evaluation = dataclasses.replace(experiment.evaluation, **changes)
    run = load_run(command.folder, dataclasses.replace(experiment, evaluation=evaluation))
    output = command.output_dir or command.folder
    require_writable(output)
    if command.figures:
        require_matplotlib()
    with Watchdog(None) as watchdog, progress(watchdog) as show:
        result = grade_curve(run, command, show)
    write_json_atomic(output / "curve.json", result)
    shown = rich.table.Table("test-time compute", box=box.SIMPLE_HEAD)
    for name in ("solved", "moves", "nodes"):
        shown.add_column(name, justify="right")
    for row in told(result):
        shown.add_row(*row)
    Console().print(shown)
    print(f"Written to {output / 'curve.json'}")
    if command.figures:
        write_curve_figures(result, output / "figures")
        print(f"Figure: {output / 'figures' / 'success_by_compute.pdf'}")
    return 0


def told(result: dict[str, Any]) -> Sequence[Sequence[str]]:
    """Returns the points as rows of a table: what was searched, solved, moves, nodes."""
    rows = []
    for point in result["search"]:
        size = " ".join(map(str, search_size(point)))
        moves = "-" if point["mean_plan_length"] is None else f"{point['mean_plan_length']:.2f}"
        nodes = f"{point['mean_nodes_generated']:,.0f}"
        rows.append([f"search, {size}", f"{100 * point['solved_fraction']:.1f}%", moves, nodes])
    if samples := result["samples"]:
        names = {"pass_at_k_oracle": "pass@{} (oracle)", "rerank_at_k": "rerank@{}", "consensus_at_k": "consensus@{}"}
        for field, name in names.items():
            for k, share in zip(samples["k"], samples[field], strict=True):
                nodes = f"{k * samples['mean_nodes_per_sample']:,.0f}"
                rows.append([name.format(k), f"{100 * share:.1f}%", "-", nodes])
    return rows
