"""A plan in half a minute, without training: `python -m jepa.demo [NAME] [--problem "R U F'"] [--html plan.html]`."""

import dataclasses
import sys
import time
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
    """Your own, such as "R U F' R2", "8 6 7 / 2 5 4 / 3 0 1" or "23 7 4 9 -> 99"; one drawn at random if absent."""
    seed: int = 0
    """Which random problem."""
    html: Path | None = None
    """File for a page on which the plan can be watched."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    with user_errors():
        about = f"Agents: {', '.join(names())}."
        show(tyro.cli(Demo, args=arguments, prog="python -m jepa.demo", description=about))


def show(demo: Demo) -> None:
    """Plans for one problem, and shows how.

    Raises:
      ValueError: there is no such agent, or the problem is none of its domain.
    """
    console = Console()
    began = time.monotonic()
    agent = TrainedAgent(load_pretrained(demo.name))
    env = agent.env
    problem = demo.problem if demo.problem is not None else env.sample_problem(jax.random.key(demo.seed))
    parsed = agent.read(problem)
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
    if demo.html is not None:
        write_plan_page(agent.run, parsed, demo.html)
        console.print(f"The plan to watch: open {demo.html} in a browser")


def _watch(console: Console, agent: TrainedAgent, problem: object) -> None:
    """Shows ply by ply how many latents the search holds, and how near the best one seems."""
    table = Table("ply", "latents held", "lowest predicted distance", box=box.SIMPLE_HEAD)
    with Live(table, console=console, refresh_per_second=8):
        for ply, held, lowest in agent.watch(problem):
            table.add_row(str(ply), f"{held:,}", "#" * max(0, round(2 * lowest)) + f" {lowest:.1f}")


def _replay(console: Console, agent: TrainedAgent, solved: SolvedProblem) -> None:
    """Shows the states of the plan one after the other; in a file only the plan."""
    console.print(f"\nplan: {' '.join(solved.actions) or 'nothing to do'}", markup=False, highlight=False)
    if not console.is_terminal:
        return
    with Live(console=console, refresh_per_second=20) as live:
        for place, state in enumerate(solved.states):
            left = f", {solved.predicted_costs[place]:.1f} moves left by prediction" if solved.predicted_costs else ""
            done = f"after {place} of {len(solved.actions)} moves{left}"
            live.update(Group(Text(agent.env.render(state)), Text(done)))
            time.sleep(SECONDS_PER_FRAME)


if __name__ == "__main__":
    main(sys.argv[1:])
