"""States along the plans of an evaluation, with what the model says of them and what is true."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jepa.agents.latent_planner import planning_model
from jepa.envs.base import Env, GoalKind
from jepa.evaluation import PlanRecords
from jepa.page.stories import SECONDS_FOR_DISTANCES, distances_in_time
from jepa.runs import Run
from jepa.types import Problem

MAX_STATES = 2_000
"""States that are kept: of so many problems, in their order."""
MAX_COMPARED = 400
"""States between which all predicted distances are asked for."""
_STATES_PER_CALL = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentStates:
    """M different states along plans, each with the goal of its problem; NumPy arrays."""

    tokens: Int[np.ndarray, "M N"]
    """The states."""
    latents: Float[np.ndarray, "M D"]
    """Their encodings."""
    distances: Int[np.ndarray, " M"]
    """Exact number of actions to the goal; -1 where it is not known."""
    predicted: Float[np.ndarray, " M"]
    """The same as the cost predicts it."""
    problems: Int[np.ndarray, " M"]
    """Of which test problem."""
    places: Int[np.ndarray, " M"]
    """After how many actions of its plan."""
    between: Float[np.ndarray, "C C"] | None
    """Predicted number of actions from each of the first C states to each other one; None where goals are no states."""


def gather_states(run: Run, problems: Problem, records: PlanRecords) -> LatentStates:
    """Returns the states that the plans of a `LatentPlanner` pass, ordered at random.

    Args:
      run: whose plans they are.
      problems: the test problems.
      records: what became of them.
    """
    env = run.experiment.env
    world_model, cost = run.experiment.agent.modules(env, run.params)
    model = planning_model(world_model, cost)
    count = int(np.searchsorted(np.cumsum(records.plan_lengths + 1), MAX_STATES, side="right"))
    problems, actions = jax.tree.map(lambda leaf: np.asarray(leaf)[: max(1, count)], (problems, records.actions))
    walks = np.asarray(jax.jit(jax.vmap(lambda start, plan: _walk(env, start, plan)))(problems.start, actions))
    is_passed = np.arange(walks.shape[1]) <= (actions >= 0).sum(axis=1)[:, None]
    owners, places = np.nonzero(is_passed)
    goals = jax.tree.map(lambda leaf: leaf[owners], problems.goal)
    # The plans of one goal meet; each state is shown once.
    everything = np.column_stack(
        [walks[owners, places], *(leaf.reshape(len(owners), -1) for leaf in jax.tree.leaves(goals))]
    )
    chosen = np.unique(everything, axis=0, return_index=True)[1]
    chosen = np.random.default_rng(0).permutation(np.sort(chosen))[:MAX_STATES]
    owners, places = owners[chosen], places[chosen]
    tokens, goals = walks[owners, places], jax.tree.map(lambda leaf: leaf[chosen], goals)
    latents = jax.jit(world_model.encode)(tokens)
    encode_goals = jax.jit(lambda goals: world_model.encode_goal(jax.vmap(env.goal_alternatives)(goals)))
    predict = jax.jit(lambda latents, goals: model.cost(latents[:, None], goals)[:, 0])
    compare = jax.jit(lambda latents: jax.lax.map(lambda end: model.cost(latents[None], end[None, None])[0], latents))
    some = latents[:MAX_COMPARED]
    passed, actions_left = Problem(start=tokens, goal=goals), (actions >= 0).sum(axis=1)[owners] - places
    deadline = time.monotonic() + SECONDS_FOR_DISTANCES
    return LatentStates(
        tokens=tokens,
        latents=np.asarray(latents),
        distances=distances_in_time(env, passed, actions_left, deadline, _STATES_PER_CALL),
        predicted=np.asarray(predict(latents, encode_goals(goals))),
        problems=owners,
        places=places,
        between=np.asarray(compare(some)).T if env.goal_kind is GoalKind.STATE else None,
    )


def _walk(env: Env, start: Int[Array, " N"], actions: Int[Array, " H"]) -> Int[Array, "H_plus_1 N"]:
    """Returns the states that a plan passes, on the exact dynamics."""

    def move(state, action):
        state = jnp.where(action >= 0, env.step(state, jnp.maximum(action, 0)), state)
        return state, state

    return jnp.concatenate([start[None], jax.lax.scan(move, start, actions)[1]])
