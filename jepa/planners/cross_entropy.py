"""Cross-entropy method: sample action sequences, keep the best, sample the next ones more like them."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.planners.base import GoalLatents, Planner, PlanningModel
from jepa.types import Plan, pytree, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropySearch(Planner):
    """A distribution over actions at every step, moved towards the sequences that came nearest to the goal.

    A sequence is judged by the least predicted cost on its way, and one that reaches the goal is better the earlier it
    does. Returned is the best that was ever sampled, up to where it was nearest.

    Source: Rubinstein, 1999; the planner of many world models with continuous actions, here for discrete ones.
    """

    compute_axis: ClassVar[str] = "num_samples"

    num_samples: int = 64
    """Sequences sampled in each iteration; each generates `horizon` nodes."""
    num_iterations: int = 8
    """How often the distribution is moved."""
    elite_fraction: float = 0.1
    """Share of the sequences that it is moved towards."""
    smoothing: float = 0.3
    """Share of the old distribution that is kept when it moves."""
    horizon: int = 20
    """Actions of each sequence."""
    same_state_tolerance: float = 0.3
    """Largest mean squared difference in any slot at which two latents count as one state."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "num_samples", "num_iterations", "elite_fraction", "horizon", "same_state_tolerance")
        if self.elite_fraction > 1 or not 0 <= self.smoothing < 1:
            raise ValueError(
                f"CrossEntropySearch needs elite_fraction up to 1 and smoothing in [0, 1); got {self.elite_fraction} "
                f"and {self.smoothing}"
            )

    def plan(self, model: PlanningModel, start: Float[Array, "B D"], goal: GoalLatents, key: Key[Array, ""]) -> Plan:
        """See base class."""
        batch = len(start)
        num_actions = jax.eval_shape(model.legal_actions, start).shape[-1]
        start_cost = model.cost(start[:, None], goal)
        is_there = model.goal_difference(start[:, None], goal)[:, 0] < self.same_state_tolerance
        nothing = _Sampled(
            actions=jnp.full((batch, 1, self.horizon), -1),
            costs=jnp.full((batch, 1, self.horizon), jnp.nan),
            length=jnp.zeros((batch, 1), jnp.int32),
            score=jnp.where(is_there, -jnp.inf, jnp.inf)[:, None],
            reached=is_there[:, None],
        )
        num_elites = max(1, round(self.elite_fraction * self.num_samples))

        def iterate(carry, number):
            probs, best = carry
            sampled = self._sample(model, start, goal, jnp.log(probs), jax.random.fold_in(key, number))
            _, elite = jax.lax.top_k(-sampled.score, num_elites)
            chosen = jnp.take_along_axis(sampled.actions, elite[:, :, None], axis=1)
            frequency = jax.nn.one_hot(chosen, num_actions).mean(axis=1)
            moved = self.smoothing * probs + (1 - self.smoothing) * (frequency + 1e-2) / (1 + 1e-2 * num_actions)
            both = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), best, sampled)
            first = jnp.argmin(both.score, axis=1)
            best = jax.tree.map(lambda leaf: jax.vmap(lambda row, i: row[i][None])(leaf, first), both)
            return (moved, best), None

        uniform = jnp.full((batch, self.horizon, num_actions), 1.0 / num_actions)
        (_, best), _ = jax.lax.scan(iterate, (uniform, nothing), jnp.arange(self.num_iterations))
        best = jax.tree.map(lambda leaf: leaf[:, 0], best)
        on_plan = jnp.arange(self.horizon) < best.length[:, None]
        costs = jnp.where(on_plan, best.costs, jnp.nan)
        return Plan(
            actions=jnp.where(on_plan, best.actions, -1),
            predicted_costs=jnp.concatenate([start_cost, costs], axis=1),
            claims_solved=best.reached,
            num_nodes_generated=jnp.full(batch, self.num_samples * self.horizon * self.num_iterations, jnp.int32),
        )

    def _sample(
        self,
        model: PlanningModel,
        start: Float[Array, "B D"],
        goal: GoalLatents,
        log_probs: Float[Array, "B T A"],
        key: Key[Array, ""],
    ) -> "_Sampled":
        """Imagines sequences drawn from the distribution among the actions that are legal on the way."""
        batch, width = start.shape

        def imagine(latents: Float[Array, "BS D"], step: Int[Array, ""]) -> tuple:
            legal = model.legal_actions(latents)
            wanted = jnp.repeat(log_probs[:, step], self.num_samples, axis=0)
            actions = jax.random.categorical(jax.random.fold_in(key, step), jnp.where(legal, wanted, -1e9))
            moved = jnp.where(legal.any(axis=-1, keepdims=True), model.predict(latents, actions), latents)
            samples = moved.reshape(batch, self.num_samples, width)
            reached = model.goal_difference(samples, goal) < self.same_state_tolerance
            is_legal = legal.any(axis=-1).reshape(batch, -1)
            return moved, (actions.reshape(batch, -1), model.cost(samples, goal), reached & is_legal, is_legal)

        first = jnp.repeat(start, self.num_samples, axis=0)
        _, stacked = jax.lax.scan(imagine, first, jnp.arange(self.horizon))
        actions, costs, reached, legal = (jnp.moveaxis(leaf, 0, -1) for leaf in stacked)
        steps = jnp.arange(self.horizon)
        scores = jnp.where(reached, steps - 1e6, jnp.where(legal, costs, jnp.inf))
        last = scores.argmin(axis=-1)
        return _Sampled(
            actions=actions,
            costs=costs,
            length=jnp.where(legal[..., 0], last + 1, 0),
            score=scores.min(axis=-1),
            reached=jnp.take_along_axis(reached, last[..., None], axis=-1)[..., 0],
        )

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.num_samples


@pytree
class _Sampled:
    """S action sequences for each of B problems."""

    actions: Int[Array, "B S T"]
    """The actions."""
    costs: Float[Array, "B S T"]
    """Predicted cost after each."""
    length: Int[Array, "B S"]
    """After how many the sequence was nearest to the goal."""
    score: Float[Array, "B S"]
    """How good it is; lower is better."""
    reached: Bool[Array, "B S"]
    """Whether it reached the goal."""
