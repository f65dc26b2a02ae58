"""The true dynamics as a planning model: what baselines search on, and the ceiling of the learned model.

"Latents" are here the exact states, as standardised one-hot codes, so that every planner runs on them unchanged and
recognises them as it recognises latents.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jepa.envs.base import Env
from jepa.latents import goal_difference, leave_open
from jepa.planners.base import PlanningModel
from jepa.types import Goal

CodesCost = Callable[[Float[Array, "B C D"], Any], Float[Array, "B C"]]
"""Codes of states and what is given of the goals, to costs to go."""
CodesProposal = Callable[[Float[Array, "B C D"], Any, Bool[Array, "B C A"]], Float[Array, "B C A"]]
"""The same and the legal actions, to logarithms of the probabilities with which actions are proposed."""


def exact_codes(env: Env, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
    """Returns the codes of states; D is N times the size of the vocabulary."""
    codes = jax.nn.one_hot(tokens, env.vocab_size) - 1.0 / env.vocab_size
    return (codes * env.vocab_size**0.5).reshape(*tokens.shape[:-1], -1)


def exact_tokens(env: Env, codes: Float[Array, "*B D"]) -> Int[Array, "*B N"]:
    """Returns the states of codes."""
    return jnp.argmax(codes.reshape(*codes.shape[:-1], env.num_tokens, env.vocab_size), axis=-1)


def exact_goal_codes(env: Env, goal: Goal) -> Float[Array, "*B D"]:
    """Returns the codes of goals, zeros where they leave a token open."""
    return leave_open(exact_codes(env, goal.tokens), goal.mask, env.num_tokens)


def exact_search_goals(env: Env, goals: Goal) -> dict[str, Float[Array, "B K D"]]:
    """Returns goals for a search on `exact_planning_model`: codes of all alternatives, `given` as they are."""
    codes = exact_goal_codes(env, jax.vmap(env.goal_alternatives)(goals))
    return {"codes": codes, "given": codes}


def exact_planning_model(env: Env, cost: CodesCost, propose: CodesProposal | None = None) -> PlanningModel:
    """Returns the true dynamics, led by a cost and perhaps by proposals.

    Goals are a dictionary: `codes` [B, K, D] of their alternatives, and `given`, which cost and proposals receive.
    """

    def all_successors(state: Int[Array, " N"]) -> Int[Array, "A N"]:
        return jax.vmap(env.step, in_axes=(None, 0))(state, jnp.arange(env.num_actions))

    def legal_actions(codes: Float[Array, "B D"]) -> Bool[Array, "B A"]:
        return jax.vmap(env.legal_actions)(exact_tokens(env, codes))

    def proposals(codes: Float[Array, "B C D"], goals: dict[str, Any]) -> Float[Array, "B C A"]:
        legal = legal_actions(codes.reshape(-1, codes.shape[-1])).reshape(*codes.shape[:2], -1)
        return propose(codes, goals["given"], legal)

    return PlanningModel(
        predict_all=lambda codes: exact_codes(env, jax.vmap(all_successors)(exact_tokens(env, codes))),
        predict=lambda codes, actions: exact_codes(env, jax.vmap(env.step)(exact_tokens(env, codes), actions)),
        legal_actions=legal_actions,
        cost=lambda codes, goals: cost(codes, goals["given"]),
        goal_difference=lambda codes, goals: goal_difference(codes, goals["codes"], env.num_tokens),
        shares_predictions=False,
        propose=None if propose is None else proposals,
    )
