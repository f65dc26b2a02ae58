"""The interface that the latent planner and every baseline share: stages of training, then plans for problems."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from jepa.envs.base import Env
from jepa.training import Stage
from jepa.types import Plan, Problem, Trajectories

Params = Mapping[str, Any]
"""Trained parameters of all stages, by name of the stage."""
PlanFunction = Callable[[Params, Problem, Key[Array, ""]], Plan]
"""Parameters and a batch of problems to plans; pure and jittable. Parameters are an argument, not closed over: as
constants of the compiled program they would be stored in it, and compiled for anew with every change."""
ScoreFunction = Callable[[Params, Problem, Int[Array, "B T"]], Float[Array, " B"]]
"""Parameters, a batch of problems and the actions of a plan for each (-1 behind its end) to scores, less being better;
pure and jittable."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agent(abc.ABC):
    """A method with its hyper-parameters."""

    grading_fields: ClassVar[frozenset[str]] = frozenset({"planner"})
    """Fields that say how plans are made and not what is trained; they may be changed after training."""

    @abc.abstractmethod
    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """Returns the stages of training in order; later ones may read the parameters of earlier ones."""

    def within(self, num_transitions: int) -> "Agent":
        """Returns the agent as it trains when it may see a number of moves.

        Who learns from recorded moves is given that many of them and stays as it is, the default; who makes moves of
        its own plays as many rounds as fit.
        """
        return self

    @abc.abstractmethod
    def plan_function(self, env: Env) -> PlanFunction:
        """Returns how problems are solved with the trained parameters."""

    def planning_verifier_calls(self, num_nodes: float, num_moves: float) -> float:
        """Returns how often the true dynamics were asked whether a goal is reached, in making a plan.

        Never, the default, where all nodes are imagined.

        Args:
          num_nodes: Nodes generated for the plan.
          num_moves: Its length.
        """
        return 0.0

    def plan_scores(self, env: Env) -> ScoreFunction | None:
        """Returns the learned score that chooses among sampled plans of one problem, for an agent that has one.

        None, the default, leaves it to what the plans say of themselves: that they arrive, or their predicted costs.
        """
        return None
