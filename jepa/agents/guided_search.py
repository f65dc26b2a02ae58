"""What baselines share: something learned guides a search on the true dynamics, by the same planners as ours.

A baseline says what it learns (stages) and how that guides (a cost, proposals, or both). Everything else is the same
for all of them: the planners, the codes of states and goals, the verifier, the counting of nodes. A baseline is *given*
the true dynamics, which our method has to learn; that is stated wherever the two are compared.
"""

import abc
import dataclasses
import functools

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jepa.actors.base import ActorModule, proposals
from jepa.agents.base import Agent, Params, PlanFunction
from jepa.agents.exact_model import (
    CodesCost,
    CodesProposal,
    exact_codes,
    exact_planning_model,
    exact_search_goals,
)
from jepa.costs.base import CostModule
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.beam_search import BeamSearch
from jepa.types import Goal, Plan, Problem

LEAST_VALUE = 1e-3
"""Values below this stand for equally many moves: an estimate that comes out negative stands for none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guide:
    """What leads the search; codes of states [B, C, D] and of the goals' alternatives [B, K, D] come in."""

    cost: CodesCost | None = None
    """Cost to go of every state; None if all cost the same."""
    propose: CodesProposal | None = None
    """Log-probabilities of the legal actions; None if nothing is proposed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidedSearch(Agent):
    """A baseline: learns from recorded moves, then searches on the true dynamics."""

    planner: Planner = BeamSearch()
    """The search; a policy alone is `ProposalSearch(width=1)`."""

    @abc.abstractmethod
    def guide(self, env: Env, params: Params) -> Guide:
        """Returns what the trained parameters say."""

    def planning_verifier_calls(self, num_nodes: float, num_moves: float) -> float:
        """See base class: every node is a state of the domain, compared with the goal."""
        return num_nodes

    def goal_codes(self, env: Env, goal: Goal) -> dict[str, Float[Array, "B K D"]]:
        """Returns goals of test problems for the search: `codes` of alternatives, by default `given` to guides, too."""
        return exact_search_goals(env, goal)

    def plan_function(self, env: Env) -> PlanFunction:
        """See base class."""

        def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
            guide = self.guide(env, params)
            cost = guide.cost or (lambda codes, goals: jnp.zeros(codes.shape[:2]))
            model = exact_planning_model(env, cost, guide.propose)
            return self.planner.plan(model, exact_codes(env, problems.start), self.goal_codes(env, problems.goal), key)

        return plan


def policy_guide(network: ActorModule) -> Guide:
    """Returns the guide that a policy is: it proposes, and all states cost the same."""
    return Guide(propose=functools.partial(proposals, network))


def cost_guide(head: CostModule) -> Guide:
    """Returns the guide that a cost is: the nearest of a goal's alternatives counts, and nothing is proposed."""
    return Guide(cost=lambda codes, goals: head(codes[:, :, None], goals[:, None]).min(axis=-1))


def moves_of_value(value: Float[Array, "*B"], discount: float) -> Float[Array, "*B"]:
    """Returns after how many moves a reward of 1 is worth a value."""
    return jnp.log(jnp.clip(value, LEAST_VALUE, 1.0)) / jnp.log(discount)
