"""Any agent on any environment: plans for problems it never saw, each replayed by the exact verifier."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from jepa.actors.base import ActorModule, proposals
from jepa.agents.base import Params, PlanFunction
from jepa.agents.exact_model import exact_codes, exact_goal_codes, exact_planning_model, exact_tokens
from jepa.agents.latent_planner import LatentPlanner, planning_model
from jepa.array_files import arrays_from_npz
from jepa.costs.base import CostModule
from jepa.envs.base import Env
from jepa.mesh import replicate, split
from jepa.planners.base import PlanningModel
from jepa.types import Goal, Plan, Problem
from jepa.world_model import WorldModelModule

NODES_PER_BATCH_CPU = 6_144
"""Nodes generated at a time over all problems of a batch; their activations fit a cache of some megabytes."""
NODES_PER_BATCH_ACCELERATOR = 1_048_576
"""The same on a GPU or TPU, where memory is the only limit; not measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The test problems."""

    num_problems: int = 1000
    """Problems to solve: drawn from the domain, or the first ones of a file (all, if it has fewer)."""
    problems: Path | None = None
    """A file of problems instead of drawn ones: .npz with `start` and perhaps `goal`, or `scramble`."""
    problem_seed: int = 0
    """Seed of the drawn problems; independent of the seed of training."""
    problems_per_batch: int | None = None
    """Problems planned together in one compiled call; None for as many as suit the planner and the hardware."""

    def __post_init__(self):
        """Refuses an evaluation of nothing."""
        if self.num_problems < 1 or (self.problems_per_batch is not None and self.problems_per_batch < 1):
            raise ValueError(
                f"num_problems and problems_per_batch must be at least 1; got {self.num_problems} and "
                f"{self.problems_per_batch}"
            )

    def batched(self, nodes_per_ply: int) -> "Evaluation":
        """Returns the same evaluation with a number of problems per batch, chosen where none was given.

        On a CPU a ply of all problems together should stay in the cache, which doubles the speed; an accelerator
        wants as many nodes at a time as keep it busy.

        Args:
          nodes_per_ply: nodes that the planner generates at a time for one problem.
        """
        if self.problems_per_batch is not None:
            return self
        nodes = NODES_PER_BATCH_CPU if jax.default_backend() == "cpu" else NODES_PER_BATCH_ACCELERATOR
        return dataclasses.replace(self, problems_per_batch=max(1, nodes // nodes_per_ply))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanRecords:
    """What happened to each of B problems; NumPy arrays."""

    actions: Int[np.ndarray, "B H"]
    """Plans, padded with -1."""
    predicted_costs: Float[np.ndarray, "B H_plus_1"]
    """Predicted cost to go along each plan, padded with NaN."""
    claims_solved: Bool[np.ndarray, " B"]
    """What the planner says."""
    solved: Bool[np.ndarray, " B"]
    """What the verifier says."""
    plan_lengths: Int[np.ndarray, " B"]
    """Number of actions of each plan."""
    optimal_lengths: Int[np.ndarray, " B"]
    """Least number of actions; -1 where it is not known."""
    num_nodes_generated: Int[np.ndarray, " B"]
    """Predicted successors that the search considered."""
    seconds_per_problem: float
    """Planning time without compilation, per problem in batch."""


def load_problems(env: Env, config: Evaluation) -> Problem:
    """Returns the test problems, as NumPy arrays.

    Raises:
      ValueError: the file is missing or damaged, or its problems are not of this domain.
    """
    if config.problems is None:
        # A key of their own, so that test problems never coincide with the seed of a training run.
        key = jax.random.fold_in(jax.random.key(config.problem_seed), 0x7E57)
        keys = jax.random.split(key, config.num_problems)
        return jax.tree.map(np.asarray, _sample_problems(env, keys))
    arrays = _read_arrays(config.problems, config.num_problems)
    try:
        return jax.tree.map(np.asarray, env.problems_from_arrays(arrays))
    except ValueError as error:
        raise ValueError(f"{config.problems}: {error}") from error


def exact_lengths(env: Env, problems: Problem, config: Evaluation) -> Int[np.ndarray, " B"]:
    """Returns the least number of actions of each problem, -1 where it is not known.

    A problems file may bring them as `optimal_length`, for domains that are too large to be solved exactly here; drawn
    problems, and those of a file without, are solved by the domain's exact solver.

    Raises:
      ValueError: the array of the file is not one length for each problem.
    """
    lengths = (
        None if config.problems is None else _read_arrays(config.problems, config.num_problems).get("optimal_length")
    )
    if lengths is None:
        return np.asarray(env.optimal_lengths(problems))
    count = problems.start.shape[0]
    if lengths.shape != (count,) or not np.issubdtype(lengths.dtype, np.integer) or (lengths < -1).any():
        raise ValueError(
            f"{config.problems}: `optimal_length` must be {count} whole numbers, one per problem and -1 where it is "
            f"not known; came {lengths.dtype} of shape {list(lengths.shape)}"
        )
    return lengths.astype(np.int64)


@functools.partial(jax.jit, static_argnames="env")
def _sample_problems(env: Env, keys: Key[Array, " B"]) -> Problem:
    return jax.vmap(env.sample_problem)(keys)


def _read_arrays(path: Path, count: int) -> dict[str, np.ndarray]:
    """Reads the first entries of the arrays of a problems file, without ever unpickling."""
    if not path.is_file():
        raise ValueError(f"expected a problems file, but {path} does not exist")
    try:
        arrays = arrays_from_npz(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no problems file: {error}") from error
    return {name: array[:count] for name, array in arrays.items() if np.ndim(array)}


def solve(
    env: Env,
    plan_function: PlanFunction,
    params: Params,
    problems: Problem,
    config: Evaluation,
    mesh: Mesh,
    on_batch: Callable[[int], None] = lambda num_done: None,
    optimal_lengths: Int[np.ndarray, " B"] | None = None,
    seed: int = 0,
) -> PlanRecords:
    """Plans for all problems in batches over the devices of a mesh, and grades every plan.

    Args:
      env: the domain, which grades.
      plan_function: parameters and problems to plans.
      params: trained parameters.
      problems: B problems.
      config: how many are planned together; all of them, if it does not say.
      mesh: the devices, between which each batch is split.
      on_batch: called with the number of problems done, first with 0, for a progress bar.
      optimal_lengths: least numbers of actions, where they are known already; None to ask the domain.
      seed: of what planning leaves to chance, such as random plans: the seed of the training.
    """
    count = problems.start.shape[0]
    wanted = config.problems_per_batch or count
    size = -(-min(wanted, count) // mesh.size) * mesh.size

    def plan(params: Params, problems: Problem, draw: UInt[Array, ""]) -> Plan:
        return plan_function(params, problems, jax.random.fold_in(jax.random.key(config.problem_seed), draw))

    # Plans come back whole to every process, each of which grades all of them.
    compiled = jax.jit(plan, out_shardings=NamedSharding(mesh, PartitionSpec()))
    params = replicate(params, mesh)
    on_batch(0)
    # The last batch is filled up with repeated problems: one shape, one compilation.
    batches = [np.arange(start, start + size) % count for start in range(0, count, size)]
    results, seconds = [], 0.0
    for number, indices in enumerate(batches):
        batch = jax.tree.map(lambda x, i=indices: np.asarray(x)[i], problems)
        arguments = params, split(batch, mesh), replicate(np.uint32((seed * len(batches) + number) % 2**32), mesh)
        if number == 0:
            compiled = compiled.lower(*arguments).compile()
        began = time.perf_counter()
        plans = jax.block_until_ready(compiled(*arguments))
        seconds += time.perf_counter() - began
        plans = jax.tree.map(np.asarray, plans)
        results.append(jax.tree.map(np.asarray, (plans, _verify(env, batch, plans.actions))))
        on_batch(min(count, (number + 1) * size))
    plans, (solved, lengths) = jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)
    return PlanRecords(
        actions=plans.actions,
        predicted_costs=plans.predicted_costs,
        claims_solved=plans.claims_solved,
        solved=solved,
        plan_lengths=lengths,
        optimal_lengths=np.asarray(env.optimal_lengths(problems)) if optimal_lengths is None else optimal_lengths,
        num_nodes_generated=plans.num_nodes_generated,
        seconds_per_problem=seconds / (len(batches) * size),
    )


@functools.partial(jax.jit, static_argnames="env")
def _verify(env: Env, problems: Problem, actions: Int[Array, "B T"]) -> tuple[Bool[Array, " B"], Int[Array, " B"]]:
    return jax.vmap(env.verify)(problems, actions)


def exact_model(
    env: Env, world_model: WorldModelModule, cost: CostModule, actor: ActorModule | None = None
) -> tuple[PlanningModel, Callable[[Int[Array, "*B N"]], Float[Array, "*B D"]], Callable[[Goal], Any]]:
    """Returns the same planning problem on the exact dynamics, and the encodings of states and of goals for it.

    The ceiling of the world model: successors come from the environment, only cost and actor are learned, on latents.
    """
    learned = planning_model(world_model, cost)

    def encode(codes: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
        return world_model.encode(exact_tokens(env, codes))

    model = exact_planning_model(
        env,
        cost=lambda codes, goals: learned.cost(encode(codes), goals),
        propose=None if actor is None else lambda codes, goals, legal: proposals(actor, encode(codes), goals, legal),
    )

    def encode_goal(goal: Goal) -> dict[str, Float[Array, "B K _"]]:
        return {"codes": exact_goal_codes(env, goal), "given": world_model.encode_goal(goal)}

    return model, functools.partial(exact_codes, env), encode_goal


def exact_plan_function(env: Env, agent: LatentPlanner) -> PlanFunction:
    """Returns how an agent's planner solves problems with its learned cost on the exact dynamics."""

    def plan(params: Params, problems: Problem, key: Key[Array, ""]) -> Plan:
        model, encode, encode_goal = exact_model(env, *agent.modules(env, params), agent.actor_module(env, params))
        goals = encode_goal(jax.vmap(env.goal_alternatives)(problems.goal))
        return agent.planner.plan(model, encode(problems.start), goals, key)

    return plan
