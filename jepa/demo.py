"""A plan in half a minute, without training: `python -m jepa.demo [NAME] [--problem "R U F'"] [--html plan.html]`."""

import dataclasses
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import tyro
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jepa.cli import user_errors
from jepa.console import beside
from jepa.envs.distance_table import cache_folder
from jepa.page.page import write_plan_page
from jepa.planners.frontier import FrontierSearch
from jepa.pretrained import load_pretrained, names
from jepa.trained import SolvedProblem, TrainedAgent

SECONDS_PER_FRAME = 0.15
"""Pause between two pictures in a terminal."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo:
    """Plans in latent space with a trained agent of the package."""

    name: tyro.conf.Positional[str] = "pocket_cube"
    """Which agent."""
    problem: str | None = None
    """Your own, such as "R U F' R2" or 24 stickers, "8 6 7 / 2 5 4 / 3 0 1" or "23 7 4 9 -> 99"; one drawn at random if
    absent."""
    seed: int = 0
    """Which random problem."""
    html: Path | None = None
    """File for a page on which the plan can be watched."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
      The exit status: 0 if the problem was solved, 1 otherwise.
    """
    with user_errors():
        about = f"Agents: {', '.join(names())}."
        demo = tyro.cli(Demo, args=arguments, prog="python -m jepa.demo", description=about)
        _keep_compiled_programs()
        return 0 if show(demo) else 1


def show(demo: Demo) -> bool:
    """Plans for one problem, and shows how.

    Returns:
      Whether the plan solves it.

    Raises:
      ValueError: there is no such agent, or the problem is none of its domain.
    """
    console = Console()
    began = time.monotonic()
    agent = TrainedAgent(load_pretrained(demo.name))
    env = agent.env
    problem = demo.problem if demo.problem is not None else jax.jit(env.sample_problem)(jax.random.key(demo.seed))
    parsed = agent.read(problem)
    jax.config.update("jax_disable_most_optimizations", True)  # Compiling would take longer than one plan does.
    console.print(f"[bold]{env.name}[/]\n")
    start = env.render(np.asarray(parsed.start[0]))
    goal = env.render_goal(jax.tree.map(lambda leaf: np.asarray(leaf[0]), parsed.goal))
    console.print("\n".join(beside(start, goal)), markup=False, highlight=False)
    console.print(
        "Searching in latent space; the model sees start and goal, and from then on only its own predictions."
    )
    if isinstance(agent.run.experiment.agent.planner, FrontierSearch):
        _watch(console, agent, problem)
    solved = agent.plan(problem)
    _replay(console, agent, solved)
    verdict = "[bold green]solved[/]" if solved.solved else "[bold red]not solved[/]"
    console.print(
        f"\n{verdict}, by an exact replay: {len(solved.actions)} moves, {solved.num_nodes:,} nodes, "
        f"{time.monotonic() - began:.1f} s with loading and compiling"
    )
    if solved.refutation is not None:
        console.print(f"There is no solution: {solved.refutation}", markup=False, highlight=False)
    jax.config.update("jax_disable_most_optimizations", False)  # The page says how long planning takes.
    if demo.html is not None:
        write_plan_page(agent.run, parsed, demo.html)
        console.print(f"The plan to watch: open {demo.html} in a browser")
    return solved.solved


def _keep_compiled_programs() -> None:
    """Keeps what JAX compiles beside the distance tables: the next start of the command finds it there."""
    folder = cache_folder() / "compiled"
    if jax.config.jax_compilation_cache_dir is not None:
        return  # The user has a place of their own for it.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        warnings.warn(f"the next start will compile again, as {folder} cannot be made: {error.strerror}", stacklevel=2)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _watch(console: Console, agent: TrainedAgent, problem: object) -> None:
    """Shows ply by ply how many latents the search holds, and how near the best one seems."""
    table = Table("ply", "latents held", "lowest predicted distance", box=box.SIMPLE_HEAD)
    with Live(table, console=console, refresh_per_second=8):
        for ply, held, lowest in agent.watch(problem):
            table.add_row(str(ply), f"{held:,}", "#" * max(0, round(2 * lowest)) + f" {lowest:.1f}")


def _replay(console: Console, agent: TrainedAgent, solved: SolvedProblem) -> None:
    """Shows the states of the plan one after the other; in a file only the plan."""
    env, described = agent.env, []
    for state, name in zip(solved.states, solved.actions, strict=False):
        described.append(env.describe_action(state, env.action_names.index(name)))
    separator = ", " if any(" " in words for words in described) else " "
    console.print(f"\nplan: {separator.join(described) or 'nothing to do'}", markup=False, highlight=False)
    if not console.is_terminal:
        return
    with Live(console=console, refresh_per_second=20) as live:
        for place, state in enumerate(solved.states):
            left = f", {solved.predicted_costs[place]:.1f} moves left by prediction" if solved.predicted_costs else ""
            done = f"after {place} of {len(solved.actions)} moves{left}"
            live.update(Group(Text(agent.env.render(state)), Text(done)))
            time.sleep(SECONDS_PER_FRAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
