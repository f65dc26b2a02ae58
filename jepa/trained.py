"""A trained agent as an object: load a run, give it a problem, read its plan.

For example:

    agent = TrainedAgent.from_run("runs/pocket_cube/seed0")
    plan = agent.plan("R U F' R2")
    print(plan.actions, plan.solved)
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int

from jepa.agents.latent_planner import LatentPlanner
from jepa.envs.base import Env, actions_of_plan, replay
from jepa.planners.base import Planner
from jepa.planners.frontier import FrontierSearch
from jepa.pretrained import load_pretrained
from jepa.run_config import read_config
from jepa.runs import Run, load_run
from jepa.types import Problem

MAX_CHARACTERS = 2_000
"""Longest text that is read as a problem; longer ones would only come back in messages about them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolvedProblem:
    """What an agent made of a problem."""

    actions: list[str]
    """The plan, by the names of its actions."""
    states: list[Int[np.ndarray, " N"]]
    """The states that it really passes, start and end included."""
    predicted_costs: list[float]
    """How many actions the agent expects to be left at the start and after each action; empty where it expects none."""
    claims_solved: bool
    """Whether the agent holds that the plan reaches the goal."""
    solved: bool
    """Whether it does, by an exact replay."""
    num_nodes: int
    """Nodes that the search generated."""
    refutation: str | None
    """Why there is no plan, where the domain can tell; None otherwise."""


class TrainedAgent:
    """Plans for problems of the domain that it was trained on; compiles at the first one."""

    def __init__(self, run: Run):
        self.run = run
        self._plan = jax.jit(run.experiment.agent.plan_function(run.experiment.env))
        self._verify = jax.jit(jax.vmap(run.experiment.env.verify))

    @classmethod
    def from_run(cls, folder: str | Path, planner: Planner | None = None) -> "TrainedAgent":
        """Loads a run folder.

        Args:
          folder: where `train.py` put the run.
          planner: another one than that of the run.

        Raises:
          ValueError: the folder holds no complete run.
        """
        folder = Path(folder)
        experiment = read_config(folder)
        if planner is not None:
            agent = dataclasses.replace(experiment.agent, planner=planner)
            experiment = dataclasses.replace(experiment, agent=agent)
        return cls(load_run(folder, experiment))

    @property
    def env(self) -> Env:
        """The domain."""
        return self.run.experiment.env

    @classmethod
    def pretrained(cls, name: str) -> "TrainedAgent":
        """Loads a trained agent that comes with the package.

        Raises:
          ValueError: there is none of this name; the message says which there are.
        """
        return cls(load_pretrained(name))

    def read(self, problem: str | Problem) -> Problem:
        """Returns a problem as a batch of one.

        Args:
          problem: as a person writes it (a scramble, a board, an equation: see the domain's `arrays_from_text`), or one
            problem as arrays without a batch axis, such as `env.sample_problem` draws.

        Raises:
          ValueError: the text is no problem of the domain; the message says what is expected.
        """
        if isinstance(problem, str) and len(problem) > MAX_CHARACTERS:
            raise ValueError(f"expected a problem of at most {MAX_CHARACTERS:,} characters, came {len(problem):,}")
        if isinstance(problem, str):
            return jax.tree.map(np.asarray, self.env.problems_from_arrays(self.env.arrays_from_text(problem)))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem)

    def watch(self, problem: str | Problem) -> Iterator[tuple[int, int, float]]:
        """Searches as `plan` does; yields for each ply its number, how many latents it holds, and the lowest cost.

        Raises:
          ValueError: as `read`; or there is nothing to watch, as the agent's planner keeps no frontier in latent space.
        """
        agent = self.run.experiment.agent
        if not isinstance(agent, LatentPlanner) or not isinstance(agent.planner, FrontierSearch):
            raise ValueError(f"only a latent planner that keeps a frontier can be watched; came {type(agent).__name__}")
        problems = self.read(problem)
        model, start, goals = agent.planning_inputs(self.env, self.run.params, problems)
        for frontier in agent.planner.watch(model, start, goals):
            ply, alive = int(frontier.ply), np.asarray(frontier.alive[0])
            costs = frontier.tree.costs[ply - 1, 0] if ply else model.cost(start[:, None], goals)[0]
            if alive.any():
                yield ply, int(alive.sum()), float(np.asarray(costs)[alive[: costs.shape[0]]].min())

    def plan(self, problem: str | Problem) -> SolvedProblem:
        """Plans for one problem, given as for `read`.

        Raises:
          ValueError: as `read`.
        """
        env, problems = self.env, self.read(problem)
        plan = self._plan(self.run.params, problems, jax.random.key(0))
        solved, _ = self._verify(problems, plan.actions)
        actions = actions_of_plan(np.asarray(plan.actions[0]))
        states, _ = replay(env, problems.start[0], actions)
        costs = np.asarray(plan.predicted_costs[0, : len(actions) + 1])
        single = jax.tree.map(lambda leaf: leaf[0], problems)
        return SolvedProblem(
            actions=[env.action_names[action] for action in actions],
            states=states,
            predicted_costs=[] if np.isnan(costs).all() else costs.tolist(),
            claims_solved=bool(plan.claims_solved[0]),
            solved=bool(solved[0]),
            num_nodes=int(plan.num_nodes_generated[0]),
            refutation=None if solved[0] else env.refutation(single),
        )
