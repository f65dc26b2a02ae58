"""The cells of a comparison: a config with a budget of transitions and a seed each, in a folder of its own."""

import dataclasses
from collections import Counter
from pathlib import Path

import tyro

from jepa.compute_curve import Curve
from jepa.config import Experiment, debug, load_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and how it is run."""

    configs: tyro.conf.Positional[tuple[Path, ...]]
    """Config files, one for each method on each domain, as in configs/comparison/*.py."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training, data included; all configs get the same."""
    transitions: tuple[int, ...] = ()
    """Budgets of recorded moves, rounded down to whole walks; each config's own if none is given."""
    num_problems: int | None = None
    """Test problems; each config's own number if not given."""
    search_scales: tuple[float, ...] = ()
    """Sizes of the search that every cell is graded with, too, as multiples of its own (see `eval.py curve`)."""
    num_samples: int = 0
    """Plans sampled per problem, for pass@k, rerank@k and consensus@k with k up to this; 0 for none."""
    jobs: int = 1
    """Cells that run at the same time. Seconds are only comparable between cells that ran with as many."""
    output_dir: Path | None = None
    """Folder of all cells and of the report; runs/comparison if not given, runs/comparison-debug with --debug."""
    retry_failed: bool = False
    """Run cells again that failed, are damaged, or whose config has changed since."""
    debug: bool = False
    """Shrink every cell to a few updates and problems, to try the whole path in minutes."""
    slurm_partition: str | None = None
    """Send the cells to this partition of a Slurm cluster; runs them on this machine if not given."""
    slurm_minutes: int = 240
    """Time limit of a Slurm job; a cell that reaches it is continued by the same command."""
    slurm_gpus: int = 0
    """GPUs of a Slurm job."""

    def __post_init__(self):
        """Refuses what cannot be run."""
        for name, values, least in (("--seeds", self.seeds, 0), ("--transitions", self.transitions, 1)):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice or any(value < least for value in values):
                raise ValueError(f"{name} must be different numbers of at least {least}, came {list(values)}")
        if not self.seeds:
            raise ValueError("--seeds needs at least one seed")
        for flag, value in (("--jobs", self.jobs), ("--slurm-minutes", self.slurm_minutes)):
            if value < 1:
                raise ValueError(f"{flag} must be at least 1, came {value}")
        if self.search_scales or self.num_samples:
            Curve(search_scales=self.search_scales, num_samples=self.num_samples)  # Says what is wrong with them.
        if self.num_problems is not None and self.num_problems < 1:
            raise ValueError(f"--num-problems must be at least 1, came {self.num_problems}")

    @property
    def curve(self) -> Curve | None:
        """At how much compute cells are graded beside their config's own; None for no other."""
        scales = tuple(scale for scale in self.search_scales if scale != 1)
        if not scales and not self.num_samples:
            return None
        return Curve(search_scales=scales, num_samples=self.num_samples)

    @property
    def output(self) -> Path:
        """The folder of all cells and of the report."""
        return self.output_dir or Path("runs") / ("comparison-debug" if self.debug else "comparison")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A run of a comparison."""

    config: Path
    """Config file."""
    num_transitions: int
    """The budget that was asked for; `experiment` has what remains of it in whole walks."""
    experiment: Experiment
    """The config with budget, seed and sizes of this cell: what its summary.json must be of."""
    folder: Path
    """Where it runs and leaves its results."""
    commands: tuple[tuple[str, ...], ...]
    """The programs that run one after the other, each with its arguments."""
    num_done: int = 0
    """How many of them have left what they were run for, and are not run again."""
    curve: Curve | None = None
    """At how much compute it is graded beside its config's own."""
    jobs: int
    """Cells that run at the same time on its machine, at most."""

    @property
    def name(self) -> str:
        """Such as `pocket_cube/14000/seed0`."""
        return cell_name(self.folder)


def cell_name(folder: Path) -> str:
    """Returns how a cell is called: the last three parts of its folder."""
    return "/".join(folder.parts[-3:])


def plan_cells(comparison: Comparison) -> list[Cell]:
    """Returns all cells, ordered so that a comparison broken off early has whole seeds.

    Raises:
      ValueError: a config cannot be loaded, two have the same name, or a budget is less than one walk.
    """
    if not comparison.configs:
        raise ValueError("expected config files to compare, such as configs/comparison/*.py, came none")
    stems = Counter(path.stem for path in comparison.configs)
    if twice := sorted(stem for stem, count in stems.items() if count > 1):
        raise ValueError(f"config files must have different names, came several called {', '.join(twice)}")
    experiments = {path: load_config(path) for path in comparison.configs}
    cells = []
    for seed in comparison.seeds:
        for path, experiment in experiments.items():
            budgets = comparison.transitions or (experiment.num_transitions,)
            cells += [_cell(comparison, path, experiment, budget, seed) for budget in budgets]
    return cells


def _cell(comparison: Comparison, config: Path, experiment: Experiment, budget: int, seed: int) -> Cell:
    length = experiment.behaviour.walk_length
    if budget < length:
        raise ValueError(f"--transitions must be at least {length}, one walk of {config}, came {budget}")
    num_transitions = budget - budget % length
    folder = comparison.output / config.stem / str(budget) / f"seed{seed}"
    train = ["train.py", config, "--seed", seed, "--num-transitions", num_transitions, "--run-dir", folder]
    grade, draw = ["eval.py", folder], ["eval.py", "curve", folder]
    evaluation = experiment.evaluation
    if comparison.num_problems is not None:
        evaluation = dataclasses.replace(evaluation, num_problems=comparison.num_problems)
        for words in (grade,) if comparison.debug else (grade, draw):  # With --debug a run has as few as it is.
            words += ["--num-problems", comparison.num_problems]
    experiment = dataclasses.replace(experiment, seed=seed, num_transitions=num_transitions, evaluation=evaluation)
    if comparison.debug:
        experiment, train, grade = debug(experiment), [*train, "--debug"], [*grade, "--debug"]
    programs = [train, grade]
    if curve := comparison.curve:
        # In miniature it takes longer to choose a temperature than to sample.
        draw += ["--num-samples", curve.num_samples, *(["--temperatures", 0.5] if comparison.debug else [])]
        draw += ["--search-scales", *curve.search_scales]
        programs.append(draw)
    commands = tuple(tuple(map(str, words)) for words in programs)
    return Cell(
        config=config,
        num_transitions=budget,
        experiment=experiment,
        folder=folder,
        commands=commands,
        curve=curve,
        jobs=comparison.jobs if comparison.slurm_partition is None else 1,
    )
