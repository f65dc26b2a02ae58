"""What a world model and a cost get right, measured against the exact environment; for grading only."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jepa.agents.latent_planner import planning_model
from jepa.costs.base import CostModule
from jepa.envs.base import Env
from jepa.latents import effective_rank
from jepa.metrics import sibling_ranking_accuracy, spearman
from jepa.types import Problem
from jepa.world_model import WorldModelModule

ROLLOUT_LENGTHS = (1, 4, 14)
"""Moves after which open-loop rollouts are judged."""
_MAX_RANKED_STATES = 200


def world_model_figures(
    env: Env,
    world_model: WorldModelModule,
    cost: CostModule,
    problems: Problem,
    optimal_lengths: Int[np.ndarray, " B"],
    key: Key[Array, ""],
) -> dict[str, float]:
    """Returns rollout accuracy, quality of the cost, and effective rank on the states of test problems.

    Args:
      env: the domain.
      world_model: what predicts.
      cost: what leads the search.
      problems: B problems.
      optimal_lengths: least numbers of actions, -1 where they are not known.
      key: for the actions of the rollouts.

    Returns:
      `rollout_accuracy_K` after K random legal moves, predicted without looking at a state: the share whose nearest
      encoding among the true state and its neighbours is the true one; `rollout_error_K`, the mean squared error,
      where 2 is that of unrelated latents; both again as `reencoded_rollout_*`, where the last move is predicted from
      the encoding of the true state before it, so that the difference is what errors have added up to;
      `effective_rank` of the encoded states; `cost_spearman` over problems and `sibling_ranking_accuracy` over the
      predicted successors of up to 200 starts, both against exact distances where these are known, and NaN where none
      is.
    """
    curve = functools.partial(rollout_curve, env, world_model, lengths=ROLLOUT_LENGTHS)
    figures = {
        f"{name}_{length}": float(value)
        for name, values in jax.jit(curve)(problems.start, key).items()
        for length, value in zip(ROLLOUT_LENGTHS, values, strict=True)
    }
    encoded = jax.jit(world_model.encode)(problems.start)
    figures["effective_rank"] = float(jax.jit(effective_rank)(encoded))
    known = optimal_lengths >= 0
    if not known.any():
        return figures | {"cost_spearman": math.nan, "sibling_ranking_accuracy": math.nan}
    model, goals = planning_model(world_model, cost), _goal_latents(env, world_model, problems)
    predict = jax.jit(lambda start, goal: model.cost(world_model.encode(start)[:, None], goal)[:, 0])
    predicted = np.asarray(predict(problems.start, goals))
    figures["cost_spearman"] = spearman(predicted[known], optimal_lengths[known])
    figures["sibling_ranking_accuracy"] = _sibling_ranking(env, world_model, cost, problems)
    return figures


def _goal_latents(env: Env, world_model: WorldModelModule, problems: Problem) -> Float[Array, "B K D"]:
    return jax.jit(lambda goals: world_model.encode_goal(jax.vmap(env.goal_alternatives)(goals)))(problems.goal)


def _successors(env: Env, states: Int[Array, "B N"]) -> Int[Array, "B A N"]:
    return jax.vmap(jax.vmap(env.step, in_axes=(None, 0)), in_axes=(0, None))(states, jnp.arange(env.num_actions))


def rollout_curve(
    env: Env, world_model: WorldModelModule, states: Int[Array, "B N"], key: Key[Array, ""], lengths: tuple[int, ...]
) -> dict[str, Float[Array, " L"]]:
    """Returns how exact rollouts of random legal moves are after each of L numbers of moves.

    Returns:
      `rollout_accuracy`, the share whose nearest encoding among the true state and its neighbours is the true one;
      `rollout_error`, the mean squared error; both again as `reencoded_rollout_*`, where the last move is predicted
      from the encoding of the true state before it.
    """

    def move(carry, step):
        latents, states = carry
        legal = jax.vmap(env.legal_actions)(states)
        actions = jax.random.categorical(jax.random.fold_in(key, step), jnp.where(legal, 0.0, -jnp.inf))
        can_move = legal.any(axis=-1, keepdims=True)  # Where nothing is left to do, a walk has come to its end.
        encoded = world_model.encode(states)
        after = jnp.where(can_move, jax.vmap(env.step)(states, actions), states)
        uninterrupted = jnp.where(can_move, world_model.predict(latents, actions), latents)
        reencoded = jnp.where(can_move, world_model.predict(encoded, actions), encoded)
        return (uninterrupted, after), (uninterrupted, reencoded, after)

    _, walks = jax.lax.scan(move, (world_model.encode(states), states), jnp.arange(max(lengths)))
    uninterrupted, reencoded, states = jax.tree.map(lambda leaf: leaf[jnp.array(lengths) - 1], walks)
    figures = {}
    for name, predicted in (("rollout", uninterrupted), ("reencoded_rollout", reencoded)):
        accuracy, error = jax.lax.map(lambda pair: _judged(env, world_model, *pair), (predicted, states))
        figures |= {f"{name}_accuracy": accuracy, f"{name}_error": error}
    return figures


def _judged(
    env: Env, world_model: WorldModelModule, latents: Float[Array, "B D"], states: Int[Array, "B N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the share of latents that are nearest to their own state, and their mean squared error."""
    candidates = _successors(env, states)
    distances = ((world_model.encode(candidates) - latents[:, None]) ** 2).mean(axis=-1)
    is_other = (candidates != states[:, None]).any(axis=-1)
    nearest_other = jnp.where(is_other, distances, jnp.inf).min(axis=-1)
    error = ((world_model.encode(states) - latents) ** 2).mean(axis=-1)
    return jnp.mean(error < nearest_other), jnp.mean(error)


def _sibling_ranking(env: Env, world_model: WorldModelModule, cost: CostModule, problems: Problem) -> float:
    """How well the cost ranks the successors of one state, which is what a search asks of it."""
    starts, goals = jax.tree.map(lambda x: x[:_MAX_RANKED_STATES], (problems.start, problems.goal))

    def look_ahead(starts, goals):
        latents = world_model.predict_all(world_model.encode(starts))
        costs = planning_model(world_model, cost).cost(latents, goals)
        return costs, _successors(env, starts), jax.vmap(env.legal_actions)(starts)

    goal_latents = _goal_latents(env, world_model, problems)[:_MAX_RANKED_STATES]
    predicted, successors, legal = jax.jit(look_ahead)(starts, goal_latents)
    pairs = Problem(
        start=successors.reshape(-1, env.num_tokens),
        goal=jax.tree.map(lambda x: jnp.repeat(x, env.num_actions, axis=0), goals),
    )
    exact, legal = np.asarray(env.optimal_lengths(pairs)).reshape(legal.shape), np.asarray(legal)
    # No known way is a dead end, unless the length is beyond the exact solver: then the state is left out.
    states_known = (exact >= 0).any(axis=1) if not env.is_reversible else ((exact >= 0) | ~legal).all(axis=1)
    exact = np.where(exact >= 0, exact.astype(float), np.inf)
    return sibling_ranking_accuracy(np.asarray(predicted), exact, legal & states_known[:, None])
