"""The command lines of train.py and eval.py: flags, messages for people, exit codes."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from jepa.config import Experiment, debug, load_config
from jepa.diagnostics import ROLLOUT_LENGTHS
from jepa.report import Report
from jepa.runs import read_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """What `train.py` is to do."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    """The experiment of the config file, with its fields as flags."""
    run_dir: Path | None = None
    """Folder of the run; runs/<config>/seed<seed> if not given."""
    debug: bool = False
    """Shrink everything to a few updates and problems, to try the whole path in seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalCommand:
    """What `eval.py` is to do."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    """The experiment of the run, with its fields as flags; only planner and test problems may change."""
    output_dir: Path | None = None
    """Folder of summary.json and records.jsonl; the run folder if not given."""


def parse_train(arguments: list[str]) -> tuple[Experiment, Path]:
    """Returns the experiment and the run folder that a command line asks for.

    Raises:
      ValueError: the config file is missing or wrong.
    """
    path = _positional(arguments, "train.py", "a config file, such as configs/pocket_cube.py")
    command = tyro.cli(
        TrainCommand,
        default=TrainCommand(experiment=load_config(path)),
        args=arguments[1:],
        prog=f"train.py {path}",
        config=_FLAGS,
    )
    experiment = debug(command.experiment) if command.debug else command.experiment
    name = f"{path.stem}-debug" if command.debug else path.stem
    return experiment, command.run_dir or Path("runs") / name / f"seed{experiment.seed}"


def parse_eval(arguments: list[str]) -> tuple[Experiment, Path, Path]:
    """Returns the experiment, the run folder and the output folder that a command line asks for.

    Raises:
      ValueError: there is no such run, or a flag changes what was trained.
    """
    run_dir = _positional(arguments, "eval.py", "a run folder, such as runs/pocket_cube/seed0")
    trained = read_config(run_dir)
    command = tyro.cli(
        EvalCommand,
        default=EvalCommand(experiment=trained),
        args=arguments[1:],
        prog=f"eval.py {run_dir}",
        config=_FLAGS,
    )
    return command.experiment, run_dir, command.output_dir or run_dir


_FLAGS = (tyro.conf.AvoidSubcommands,)


def _positional(arguments: list[str], program: str, what: str) -> Path:
    if not arguments or arguments[0].startswith("-"):
        asked = bool(arguments) and arguments[0] in ("-h", "--help")
        configs = sorted(str(path) for path in Path("configs").glob("*.py"))
        text = f"usage: python {program} PATH [--any.field value]\n\nPATH is {what}; "
        text += f"`python {program} PATH --help` lists its fields.\nConfigs here: {', '.join(configs) or 'none'}"
        print(text, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 1)
    return Path(arguments[0])


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns errors of the user into one message and exit code 1, and an interruption into 130."""
    try:
        yield
    except (ValueError, OSError) as error:
        if os.environ.get("JEPA_TRACEBACK"):
            raise
        print(f"error: {error}\n(JEPA_TRACEBACK=1 shows where)", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def print_report(report: Report) -> None:
    """Prints the results as tables."""
    summary = report.summary
    console = Console()
    table = Table(title=f"{summary['num_problems']} problems that were never seen")
    for column in ("", "solved", "plan length", "optimal", "nodes"):
        table.add_column(column, justify="left" if not column else "right")
    interval = f" [{summary['solved_fraction_95_low']:.1%}, {summary['solved_fraction_95_high']:.1%}]"
    table.add_row(
        "latent planner (learned model)",
        f"{summary['solved_fraction']:.1%}" + interval.replace("[", "\\["),
        _number(summary["mean_plan_length"]),
        _number(summary["mean_optimal_length"]),
        f"{summary['mean_nodes_generated']:,.0f}",
    )
    table.add_row(
        "ceiling: same search, exact model",
        f"{summary['exact_model_solved_fraction']:.1%}",
        _number(summary["exact_model_mean_plan_length"]),
        "",
        f"{summary['exact_model_mean_nodes_generated']:,.0f}",
    )
    table.add_row(
        "floor: random, same budget",
        f"{summary['random_solved_fraction']:.1%}",
        "",
        "",
        f"{summary['random_mean_nodes_generated']:,.0f}",
    )
    console.print(table)
    details = Table(title="why", show_header=False)
    for label, text in _details(summary).items():
        details.add_row(label, text)
    console.print(details)


def _details(summary: dict) -> dict[str, str]:
    rollouts = {str(moves): summary[f"rollout_accuracy_{moves}"] for moves in ROLLOUT_LENGTHS}
    ranking = summary.get("sibling_ranking_accuracy")
    return {
        "false claims of success": f"{summary['false_claim_fraction']:.2%}",
        "planning": f"{summary['seconds_per_problem']:.3f} s per problem in batch",
        "training": f"{summary['training_seconds']:.0f} s, {summary['num_transitions']:,} recorded moves, "
        f"{summary['num_parameters']:,} parameters",
        "rollouts exact after " + ", ".join(rollouts) + " moves": ", ".join(f"{x:.2%}" for x in rollouts.values()),
        "cost: Spearman with exact distance": _number(summary.get("cost_spearman"), 3),
        "cost: siblings ranked rightly": "unknown" if ranking is None else f"{ranking:.1%}",
        "effective rank of latents": _number(summary["effective_rank"], 1),
    }


def _number(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"
