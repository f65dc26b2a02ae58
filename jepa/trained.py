"""A trained agent as an object: load a run, give it a problem, read its plan.

agent = TrainedAgent.from_run("runs/pocket_cube/seed0")
plan = agent.plan("R U F' R2")
print(plan.actions, plan.solved)
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jepa.envs.base import Env, actions_of_plan
from jepa.planners.base import Planner
from jepa.run_config import read_config
from jepa.runs import Run, load_run
from jepa.types import Problem


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

    def plan(self, problem: str | Problem) -> SolvedProblem:
        """Plans for one problem.

        Args:
          problem: as a person writes it (a scramble, a board, an equation: see the domain's `arrays_from_text`), or one
            problem as arrays without a batch axis, such as `env.sample_problem` draws.

        Raises:
          ValueError: the text is no problem of the domain; the message says what is expected.
        """
        env = self.env
        if isinstance(problem, str):
            problems = env.problems_from_arrays(env.arrays_from_text(problem))
        else:
            problems = jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem)
        problems = jax.tree.map(np.asarray, problems)
        plan = self._plan(self.run.params, problems, jax.random.key(0))
        solved, _ = self._verify(problems, plan.actions)
        actions = actions_of_plan(np.asarray(plan.actions[0]))
        states: list[Any] = [problems.start[0]]
        step = jax.jit(env.step)
        for action in actions:
            states.append(np.asarray(step(states[-1], action)))
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
