"""The command lines of train.py, eval.py and data/collect.py: flags, messages for people, exit codes."""

import ast
import contextlib
import dataclasses
import logging
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import absl.logging
import jax
import tyro

from jepa.config import Experiment, debug, is_refusal, load_config
from jepa.processes import Processes, ending_together, leave, with_environment
from jepa.run_config import read_config
from jepa.runs import SECONDS_BETWEEN_CHECKPOINTS
from jepa.stopping import Stopped

Command = TypeVar("Command")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """What `train.py` is to do."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    """The experiment of the config file, with its fields as flags."""
    run_dir: Path | None = None
    """Folder of the run; runs/<config>/seed<seed> if not given."""
    debug: bool = False
    """Shrink everything to a few updates and problems, to try the whole path in seconds."""
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS
    """How much training is lost at most when the process is killed; fewer seconds cost speed, and change no result."""
    world_model_from: Path | None = None
    """Folder of a run with the same data, seed and world model, whose trained world model is taken over: only what
    follows is trained, with the same result."""
    processes: Annotated[Processes, tyro.conf.OmitArgPrefixes] = Processes()
    """Several processes that train together, one for each host or device."""

    def __post_init__(self):
        """Refuses what is no time."""
        if not 0 <= self.seconds_between_checkpoints < math.inf:
            came = self.seconds_between_checkpoints
            raise ValueError(f"--seconds-between-checkpoints must be a time of at least 0, came {came}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalCommand:
    """What `eval.py` is to do."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    """The experiment of the run, with its fields as flags; only planner and test problems may change."""
    output_dir: Path | None = None
    """Folder of summary.json and records.jsonl; the run folder if not given."""
    html: bool = False
    """Also write page.html there: plans to watch, move by move, in any browser."""
    figures: bool = False
    """Also write figures/ there, as PDF and PNG: a map of the latents, the cost against the truth, rollouts."""
    tensorboard: bool = False
    """Also show the evaluation in TensorBoard: plans, latents in the projector, results by hyper-parameters."""
    debug: bool = False
    """Shrink planner and problems, to try the whole path in seconds."""
    processes: Annotated[Processes, tyro.conf.OmitArgPrefixes] = Processes()
    """Several processes that plan together, each on its devices' share of every batch of problems."""


def parse_train(arguments: list[str]) -> TrainCommand:
    """Returns what a command line asks for, its run folder filled in and its experiment as it is to be trained.

    Raises:
      ValueError: the config file is missing or wrong.
    """
    path = _positional(arguments, "a config file, such as configs/pocket_cube.py")
    default = TrainCommand(experiment=load_config(path))
    about = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    parts = "Flags change numbers; parts, such as the encoder, are changed in the file."
    command = parse_flags(TrainCommand, arguments[1:], arguments[0], f"{about}\n\n{parts}", default)
    experiment = _debug(command.experiment) if command.debug else command.experiment
    name = f"{path.stem}-debug" if command.debug else path.stem
    run_dir = command.run_dir or Path("runs") / name / f"seed{experiment.seed}"
    return dataclasses.replace(
        command, experiment=experiment, run_dir=run_dir, processes=with_environment(command.processes)
    )


def parse_eval(arguments: list[str]) -> tuple[EvalCommand, Path]:
    """Returns what a command line asks for, its experiment as it is to be graded, and the run folder.

    Raises:
      ValueError: there is no such run.
    """
    run_dir = _positional(arguments, "a run folder, such as runs/pocket_cube/seed0, or the word compare or report")
    trained = read_config(run_dir)
    about = "Grades a trained run. Only planner and test problems can be changed; the other flags are refused."
    command = parse_flags(EvalCommand, arguments[1:], arguments[0], about, EvalCommand(experiment=trained))
    experiment = command.experiment
    if command.debug:
        graded = _debug(experiment)
        agent = dataclasses.replace(trained.agent, planner=graded.agent.planner)
        experiment = dataclasses.replace(experiment, agent=agent, evaluation=graded.evaluation)
    output_dir = command.output_dir or run_dir
    processes = with_environment(command.processes)
    return dataclasses.replace(command, experiment=experiment, output_dir=output_dir, processes=processes), run_dir


def parse_flags(
    command: type[Command], arguments: Sequence[str], name: str, about: str, default: Command | None = None
) -> Command:
    """Returns what flags ask for; flags that are wrong end the program with 1, as every error of its user does.

    Args:
      command: the dataclass whose fields are the flags.
      arguments: the flags.
      name: what stands behind the program's name: a file, or the word that chooses a command.
      about: what `--help` says.
      default: what stays as it is where no flag says otherwise; None for the defaults of the class.
    """
    given = {} if default is None else {"default": default}
    try:
        return tyro.cli(
            command,
            args=arguments,
            prog=f"{Path(sys.argv[0]).name} {name}",
            description=about,
            config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
            **given,
        )
    except SystemExit as end:  # tyro has said what is wrong, and exits with 2.
        sys.exit(1 if end.code else 0)


def _debug(experiment: Experiment) -> Experiment:
    """Shrinks an experiment, and compiles in half of the time what will hardly compute."""
    jax.config.update("jax_disable_most_optimizations", True)
    return debug(experiment)


def _positional(arguments: list[str], what: str) -> Path:
    if not arguments or arguments[0].startswith("-"):
        asked = bool(arguments) and arguments[0] in ("-h", "--help")
        program = f"python {Path(sys.argv[0]).name}"
        configs = sorted(str(path) for path in Path("configs").glob("*.py"))
        text = f"usage: {program} PATH [--any.field value]\n\nPATH comes first; it is {what}.\n"
        text += f"`{program} PATH --help` lists its fields.\nConfigs here: {', '.join(configs) or 'none'}"
        print(text, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 1)
    return Path(arguments[0])


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns errors of the user into one message and exit code 1, and an interruption into 130.

    Errors of the program keep their traceback; the environment variable JEPA_TRACEBACK=1 shows that of all.
    """
    with ending_together(), warnings.catch_warnings(), _with_dropped_errors():
        warnings.showwarning = _show_warning
        if not os.environ.get("JEPA_TRACEBACK"):  # Orbax logs pages of what it then raises as an error.
            absl.logging.set_verbosity(absl.logging.FATAL)
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            yield
        except BrokenPipeError:  # Whoever reads our output has seen enough, as in `eval.py RUN | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except (ValueError, OSError) as error:
            is_expected = isinstance(error, OSError) or is_refusal(error)
            if os.environ.get("JEPA_TRACEBACK") or not is_expected:
                raise
            print(f"error: {_text(error)}\n(JEPA_TRACEBACK=1 shows where)", file=sys.stderr)
            sys.exit(1)
        except Stopped as stop:
            name = signal.Signals(stop.number).name
            text = f"\n{name}: stopped after {stop.num_updates:,} updates, all saved; the same command continues"
            print(text, file=sys.stderr)
            leave()
            sys.exit(128 + stop.number)
        except KeyboardInterrupt:
            print("\ninterrupted; training continues from its last checkpoint with the same command", file=sys.stderr)
            sys.exit(130)


@contextlib.contextmanager
def _with_dropped_errors() -> Iterator[None]:
    """Hears of errors that Python drops: repeats a lost Ctrl-C, and hides what threads of Orbax complain of.

    An interruption is lost if it comes while an object is cleaned up, as JAX does after compiling. Threads complain
    after a damaged checkpoint has been given up, and coroutines that were never asked, once per array.
    """
    show = sys.unraisablehook

    def receive(event: "sys.UnraisableHookArgs") -> None:
        if isinstance(event.exc_value, KeyboardInterrupt):
            # Raised here, it would be lost again; sent to another thread, it would wait until this one wakes up.
            again = threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
            again.daemon = True
            again.start()
            return
        code = getattr(event.object, "cr_code", None)
        is_of_orbax = code is not None and "orbax" in code.co_filename
        if not is_of_orbax and str(event.exc_value) != "Event loop is closed":
            show(event)

    sys.unraisablehook = receive
    yield
    sys.unraisablehook = show  # Not after an error: the threads complain until the process has ended.


def _text(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """Prints a warning for people: what is wrong, not the line that noticed."""
    print(f"warning: {message}", file=sys.stderr)
