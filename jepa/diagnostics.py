"""What a world model and a cost get right, measured against the exact environment; for grading only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jepa.costs.base import CostModule
from jepa.envs.base import Env
from jepa.latents import effective_rank
from jepa.metrics import sibling_ranking_accuracy, spearman
from jepa.types import Goal, Problem
from jepa.world_model import WorldModelModule

ROLLOUT_LENGTHS = (1, 4, 14)
"""Moves after which open-loop rollouts are judged."""
_MAX_RANKED_STATES = 200


def world_model_figures(
    env: Env, world_model: WorldModelModule, cost: CostModule, problems: Problem, key: Key[Array, ""]
) -> dict[str, float]:
    """Returns rollout accuracy, quality of the cost, and effective rank on the states of test problems.

    Returns:
      `rollout_accuracy_K` after K random legal moves, predicted without looking at a state: the share whose nearest
      encoding among the true state and its neighbours is the true one; `rollout_error_K`, the mean squared error,
      where 2 is that of unrelated latents; `effective_rank` of the encoded states; and, where exact distances are
      known, `cost_spearman` over problems and `sibling_ranking_accuracy` over the successors of up to 200 starts.
    """
    rollouts = jax.jit(functools.partial(_rollouts, env, world_model))(problems.start, key)
    figures = {name: float(value) for name, value in rollouts.items()}
    encoded = jax.jit(world_model.encode)(problems.start)
    figures["effective_rank"] = float(jax.jit(effective_rank)(encoded))
    exact = env.optimal_lengths(problems)
    if (exact < 0).any():
        return figures
    predicted = jax.jit(lambda start, goal: cost(world_model.encode(start), world_model.encode(goal)))(
        problems.start, problems.goal.tokens
    )
    if np.ptp(exact) > 0:
        figures["cost_spearman"] = spearman(np.asarray(predicted), exact)
    return figures | _sibling_figures(env, world_model, cost, problems)


def _successors(env: Env, states: Int[Array, "B N"]) -> Int[Array, "B A N"]:
    return jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))(states, jnp.arange(env.num_actions))


def _rollouts(
    env: Env, world_model: WorldModelModule, states: Int[Array, "B N"], key: Key[Array, ""]
) -> dict[str, Float[Array, ""]]:
    latents, figures = world_model.encode(states), {}
    for step in range(1, max(ROLLOUT_LENGTHS) + 1):
        legal = jax.vmap(env.legal_actions)(states)
        actions = jax.random.categorical(jax.random.fold_in(key, step), jnp.where(legal, 0.0, -jnp.inf))
        latents, states = world_model.predict(latents, actions), jax.vmap(env.step)(states, actions)
        if step in ROLLOUT_LENGTHS:
            candidates = _successors(env, states)
            distances = ((world_model.encode(candidates) - latents[:, None]) ** 2).mean(axis=-1)
            is_other = (candidates != states[:, None]).any(axis=-1)
            nearest_other = jnp.where(is_other, distances, jnp.inf).min(axis=-1)
            error = ((world_model.encode(states) - latents) ** 2).mean(axis=-1)
            figures[f"rollout_accuracy_{step}"] = jnp.mean(error < nearest_other)
            figures[f"rollout_error_{step}"] = jnp.mean(error)
    return figures


def _sibling_figures(env: Env, world_model: WorldModelModule, cost: CostModule, problems: Problem) -> dict[str, float]:
    """How well the cost ranks the successors of one state, which is what a search asks of it."""
    starts = problems.start[:_MAX_RANKED_STATES]
    goals = jax.tree.map(lambda x: np.repeat(x[:_MAX_RANKED_STATES], env.num_actions, axis=0), problems.goal)
    successors = np.asarray(jax.jit(functools.partial(_successors, env))(starts))
    legal = np.asarray(jax.vmap(env.legal_actions)(starts))
    flat = Problem(start=successors.reshape(-1, env.num_tokens), goal=Goal(tokens=goals.tokens, mask=goals.mask))
    exact = np.asarray(env.optimal_lengths(flat)).reshape(legal.shape)
    predict = jax.jit(lambda start, goal: cost(world_model.predict_all(world_model.encode(start)), goal[:, None]))
    goal_latents = jax.jit(world_model.encode)(problems.goal.tokens[:_MAX_RANKED_STATES])
    predicted = np.asarray(predict(starts, goal_latents))
    return {"sibling_ranking_accuracy": sibling_ranking_accuracy(predicted, exact, legal)}
