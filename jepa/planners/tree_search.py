"""Monte-Carlo tree search (Gumbel MuZero) over predicted latents, one decision after the other.

The search itself is that of the library mctx (extra `mcts`); here latents, proposals and costs become what it asks for:
priors, values and rewards.
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.planners.memory import nonzero_fingerprints
from jepa.types import Plan, added_later, require_positive

_FINGERPRINT_BITS = 128
"""By how many bits a plan recognises where it was."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GumbelTreeSearch(Planner):
    """Before every move a tree of `num_simulations` predictions is grown, and the most promising action is taken.

    A value is `discount` to the power of the predicted cost, the reward of reaching the goal is 1; priors are what an
    actor proposes, or uniform over legal actions without one, except at a root of more actions than can be considered:
    there those compete whose successors cost least, and not those whose numbers come first. A plan does not go back to
    where it was unless every legal action does: without chance in its choices it would go in circles from there to its
    end.

    Source: Danihelka et al., 2022, in mctx.
    """

    compute_axis: ClassVar[str] = "num_simulations"

    num_simulations: int = 32
    """Predictions for each move: the axis of test-time compute."""
    horizon: int = 20
    """Largest number of moves."""
    discount: float = 0.95
    """What reaching the goal one move later is worth less."""
    max_considered: int = added_later(16, before=16)
    """Largest number of actions that compete at the root, those of the largest priors; never more than are legal."""
    gumbel_scale: float = 0.0
    """How much chance there is in the choice of actions; 0 for none, 1 for practice."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_simulations", "horizon", "max_considered", "discount", "same_state_tolerance")
        if self.discount >= 1:
            raise ValueError(f"GumbelTreeSearch.discount must be below 1; got {self.discount}")

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class.

        Raises:
          ValueError: mctx is not installed.
        """

        def choose(latents: Float[Array, "B D"], allowed: Bool[Array, "B A"], key: Key[Array, ""]) -> Int[Array, " B"]:
            return self.decide(model, latents, goal, key, allowed)[0]

        return self.walk(choose, model, start, goal, key)

    def walk(
        self,
        choose: Callable[[Float[Array, "B D"], Bool[Array, "B A"], Key[Array, ""]], Int[Array, " B"]],
        model: PlanningModel,
        start: Float[Array, "B D"],
        goal: GoalLatents,
        key: Key[Array, ""],
    ) -> Plan:
        """Returns the plans that decisions make one after the other.

        Args:
          choose: Decides among allowed actions, such as by `decide`, perhaps on another model than moves are made on.
          model: What the moves are made on, and what says that the goal is reached.
          start: Where plans begin.
          goal: What is to be reached, as that model has it.
          key: For the chance in the choices.
        """

        def is_goal(latents: Float[Array, "B D"]) -> Bool[Array, " B"]:
            return model.goal_difference(latents[:, None], goal)[:, 0] < self.same_state_tolerance

        def move(carry, number):
            latents, done, visited, nodes = carry
            successors = model.predict_all(latents)
            legal = model.legal_actions(latents)
            codes = nonzero_fingerprints(successors, _FINGERPRINT_BITS)
            is_new = legal & (codes[:, :, None] != visited[:, None]).all(axis=-1)
            allowed = jnp.where(is_new.any(axis=-1, keepdims=True), is_new, legal)
            action = choose(latents, allowed, jax.random.fold_in(key, number))
            can_move = ~done & legal.any(axis=-1)
            moved = jnp.take_along_axis(successors, action[:, None, None], axis=1)[:, 0]
            moved = jnp.where(can_move[:, None], moved, latents)
            cost = jnp.where(can_move, model.cost(moved[:, None], goal)[:, 0], jnp.nan)
            nodes += jnp.where(can_move, self.num_simulations + legal.shape[-1], 0)
            is_stuck = ~model.legal_actions(moved).any(axis=-1)
            visited = visited.at[:, number + 1].set(jnp.take_along_axis(codes, action[:, None], axis=1)[:, 0])
            return (moved, done | is_goal(moved) | is_stuck, visited, nodes), (jnp.where(can_move, action, -1), cost)

        visited = jnp.zeros((len(start), self.horizon + 1), jnp.uint32)
        visited = visited.at[:, 0].set(nonzero_fingerprints(start, _FINGERPRINT_BITS))
        carry = (start, is_goal(start), visited, jnp.zeros(len(start), jnp.int32))
        (last, _, _, nodes), (actions, costs) = jax.lax.scan(move, carry, jnp.arange(self.horizon))
        start_cost = model.cost(start[:, None], goal)
        return Plan(
            actions=actions.T,
            predicted_costs=jnp.concatenate([start_cost, costs.T], axis=1),
            claims_solved=is_goal(last),
            num_nodes_generated=nodes,
        )

    def decide(
        self,
        model: PlanningModel,
        latents: Float[Array, "B D"],
        goal: GoalLatents,
        key: Key[Array, ""],
        legal: Bool[Array, "B A"] | None = None,
    ) -> tuple[Int[Array, " B"], Float[Array, "B A"]]:
        """Returns an action for each latent, and the improved policy that the search found.

        Args:
          model: what is searched on.
          latents: where to decide.
          goal: what is to be reached.
          key: for the chance in the choice.
          legal: which actions are legal there, if that is known better than the model does.

        Raises:
          ValueError: mctx is not installed.
        """
        mctx = _mctx()

        def judged(latents: Float[Array, "B D"]) -> tuple[Float[Array, "B A"], Float[Array, " B"], Bool[Array, "B A"]]:
            legal = model.legal_actions(latents)
            logits = jnp.zeros(legal.shape) if model.propose is None else model.propose(latents[:, None], goal)[:, 0]
            value = self.discount ** jnp.maximum(model.cost(latents[:, None], goal)[:, 0], 0.0)
            # Only at the root can actions be forbidden; inside the tree a prior must do it.
            return jnp.where(legal, logits, -1e9), jnp.where(legal.any(axis=-1), value, 0.0), legal

        def follow(_: Any, key: Key[Array, ""], actions: Int[Array, " B"], latents: Float[Array, "B D"]) -> tuple:
            moved = model.predict(latents, actions)
            logits, value, legal = judged(moved)
            reached = model.goal_difference(moved[:, None], goal)[:, 0] < self.same_state_tolerance
            ends = reached | ~legal.any(axis=-1)
            output = mctx.RecurrentFnOutput(
                reward=reached.astype(jnp.float32),
                discount=jnp.where(ends, 0.0, self.discount),
                prior_logits=logits,
                value=jnp.where(ends, 0.0, value),
            )
            return output, moved

        logits, value, held_legal = judged(latents)
        if model.propose is None and logits.shape[-1] > min(self.max_considered, self.num_simulations):
            logits = jnp.where(held_legal, -model.cost(model.predict_all(latents), goal), -1e9)
        legal = held_legal if legal is None else legal
        found = mctx.gumbel_muzero_policy(
            params=(),
            rng_key=key,
            root=mctx.RootFnOutput(prior_logits=logits, value=value, embedding=latents),
            recurrent_fn=follow,
            num_simulations=self.num_simulations,
            invalid_actions=~legal,
            max_num_considered_actions=min(self.max_considered, logits.shape[-1]),
            gumbel_scale=self.gumbel_scale,
        )
        return found.action, found.action_weights

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class; a tree keeps all of its latents."""
        return self.num_simulations


def _mctx() -> ModuleType:
    try:
        import mctx
    except ModuleNotFoundError as error:
        raise ValueError('tree search needs the library mctx: pip install -e ".[mcts]"') from error
    return mctx
