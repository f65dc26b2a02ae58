"""Stage two: learn the cost to go on walks that the frozen world model imagines.

For two states i and j of an imagined walk, at times t_i and t_j, the number of actions between them is at most
|t_i - t_j|; on the learned model it is also at most 1 + the distance of i's best successor (Bellman). The cost is
regressed on the smaller of the two, the second with embeddings from the beginning of the call:

    target(i, j) = min(|t_i - t_j|, 1 + min_a distance(phi'(predict(z_i, a)), phi'(z_j)))

The bounds of all pairs are worked out once for a call if its updates would work out more than that, one by one.
Where moves cannot be undone, the first bound holds for t_i <= t_j alone, and `max_cost` stands in for it otherwise.
Where goals leave something open, state j becomes a goal in hindsight: the part of it that a goal of the domain could
have asked for; the target is 0 for every state that has that part too.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.costs.base import Cost
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination, ImaginedWalks, imagine_walks
from jepa.costs.sibling_ranking import SiblingRanking
from jepa.hindsight import GoalRules, ReachedGoals, goals_in_hindsight
from jepa.latents import leave_open
from jepa.mesh import check_divisible, shard_batch
from jepa.training import FrozenWorldModelStage, Schedule, TrainState, WorldModelStage
from jepa.types import Trajectories, pytree, require_positive

DRIFT_TOLERANCE = 0.2
"""Imagined walks may be fitted this much better than recorded ones before the alarm of leaking time rises."""
_NUM_DIAGNOSED = 64
_Places = tuple[Int[Array, "B _"], Int[Array, "B _"]]
"""Walks, and times in them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostLearning:
    """The cost head, where its data come from, and its targets."""

    head: Cost = EuclideanCost()
    """The cost module that is trained."""
    imagination: Imagination = Imagination()
    """The walks it is trained on."""
    states_per_walk: int = 16
    """States taken from each imagined walk for one update, evenly spread; all pairs among them are used."""
    goal_weight: float = 0.5
    """Weight of the pairs (state, first state of the recorded walk) against pairs within an imagined walk; without
    effect where walks begin in different contexts or their moves cannot be undone."""
    max_cost: float = 100.0
    """Largest target, and the one where no way is known: from dead ends, and back where moves cannot be undone."""
    bellman_start: float = 0.3
    """Share of the updates after which targets are lowered by Bellman's bound; 1 never does it."""
    foreign_goals: bool = False
    """Whether states are also paired with goals that another walk reached, on which Bellman's bound alone can tell what
    is out of reach: for dead ends before goals that are the same in all contexts, as "nothing is empty"."""
    ranking: SiblingRanking = SiblingRanking()
    """Loss on the order of the successors of one state."""

    def __post_init__(self):
        """Refuses more states than a walk has."""
        require_positive(self, "states_per_walk")
        if self.states_per_walk > self.imagination.walk_length + 1:
            raise ValueError(
                f"states_per_walk must be at most walk_length + 1 = {self.imagination.walk_length + 1}; "
                f"got {self.states_per_walk}"
            )


@pytree
class CostData:
    """Imagined walks and their embeddings under the parameters from the beginning of the call."""

    walks: ImaginedWalks
    """The walks."""
    origin_targets: Float[Array, "B T"]
    """Targets of the distances to the first states of the recorded walks that they continue."""
    goals: ReachedGoals
    """Every state of the walks as a goal."""
    goal_embeddings: Float[Array, "B T E"]
    """Embeddings of the goals."""
    successor_embeddings: Float[Array, "B T A E"]
    """Embeddings of the successors of the states."""
    bellman: Float[Array, "B T T"] | None
    """Bellman's bound for all pairs of states of a walk; None where updates work out those that they take."""


class CostStage(FrozenWorldModelStage):
    """Learns the cost to go on a frozen world model."""

    name = "cost"

    def __init__(
        self,
        config: CostLearning,
        schedule: Schedule,
        world_model: WorldModelStage,
        trajectories: Trajectories,
        goal_rules: GoalRules,
        key: Key[Array, ""],
        mesh: Mesh,
    ):
        check_divisible(schedule.batch_size // config.states_per_walk, mesh)
        check_divisible(config.imagination.num_walks, mesh)
        init_key, self.update_key = jax.random.split(key)
        sizes = dict(latent_width=world_model.latent_width, num_slots=world_model.num_slots)
        build = lambda: config.head.build(**sizes, rngs=nnx.Rngs(init_key))  # noqa: E731
        super().__init__(build, schedule, world_model, trajectories, mesh)
        self.config = config
        self.goal_rules = goal_rules
        # The first state of a walk is a goal worth its own targets where all walks begin alike and lead back.
        self.has_origin = goal_rules.is_reversible and goal_rules.hindsight_mask is None
        num_pairs = config.imagination.num_walks * (config.imagination.walk_length + 1) ** 2
        num_taken = schedule.updates_per_call * schedule.batch_size * config.states_per_walk
        self.bounds_all_pairs = num_pairs <= num_taken and not config.foreign_goals and config.bellman_start < 1

    def prepare(self, state: TrainState, resources: Any) -> CostData:
        """See base class: walks imagined for this call, and everything that needs no gradient."""
        world_model_params, trajectories = resources
        world_model = self.world_model.module(world_model_params)
        head = self.module(state.params)
        key = jax.random.fold_in(jax.random.fold_in(self.update_key, 0), state.num_updates)
        walks = shard_batch(imagine_walks(world_model, trajectories, self.config.imagination, key), self.mesh)
        goals = goals_in_hindsight(world_model, walks.latents, self.goal_rules, jax.random.fold_in(key, 1))
        successors = head.embed(walks.successors)
        origins = head.embed_goal(walks.goals)[:, None]
        bellman = self._bellman(state, head.distance(successors, origins[:, :, None]), walks.legal_actions)
        goal_embeddings = head.embed_goal(goals.latents)

        def bounds_at(time: tuple[Float[Array, "B A E"], Bool[Array, "B A"]]) -> Float[Array, "B T"]:
            distances = head.all_distances(time[0], goal_embeddings).swapaxes(-1, -2)
            return self._bellman(state, distances, time[1][:, None])

        bounds = None
        if self.bounds_all_pairs:
            # Time by time: a head that compares by a perceptron holds a hidden layer for every pair and every action.
            times = successors.swapaxes(0, 1), walks.legal_actions.swapaxes(0, 1)
            bounds = jax.lax.map(bounds_at, times).swapaxes(0, 1)
        return CostData(
            walks=walks,
            origin_targets=jnp.minimum(jnp.minimum(walks.elapsed, bellman), self.config.max_cost),
            goals=goals,
            goal_embeddings=goal_embeddings,
            successor_embeddings=successors,
            bellman=bounds,
        )

    def _bellman(
        self, state: TrainState, distances: Float[Array, "*B A"], legal: Bool[Array, "*#B A"]
    ) -> Float[Array, "*B"]:
        if self.config.bellman_start >= 1:
            return jnp.full(distances.shape[:-1], jnp.inf)
        started = state.num_updates >= self.config.bellman_start * self.schedule.num_updates
        return jnp.where(started, 1 + jnp.where(legal, distances, jnp.inf).min(axis=-1), jnp.inf)

    def update(self, state: TrainState, data: CostData) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """See base class."""
        key = jax.random.fold_in(jax.random.fold_in(self.update_key, 1), state.num_updates)
        sample_key, ranking_key = jax.random.split(key)
        walks, times = self._sample(data.walks, sample_key)
        latents = shard_batch(data.walks.latents[walks, times], self.mesh)
        origins = shard_batch(data.walks.goals[walks[:, 0]], self.mesh)
        goal_walks, goal_times = self._goals(walks), self._goals(times)
        goals = shard_batch(data.goals.latents[goal_walks, goal_times], self.mesh)
        is_own_walk = walks[:, :, None] == goal_walks[:, None]
        targets = self._pair_targets(state, data, (walks, times), (goal_walks, goal_times), is_own_walk)
        origin_targets = data.origin_targets[walks, times]
        different = ~is_own_walk | (times[:, :, None] != goal_times[:, None])

        def loss(params):
            head = self.module(params)
            embeddings = head.embed(latents)
            is_own_goal = head.is_symmetric and self.goal_rules.hindsight_mask is None and goals.shape == latents.shape
            goal_embeddings = embeddings if is_own_goal else head.embed_goal(goals)
            error = head.distance(embeddings[:, :, None], goal_embeddings[:, None]) - targets
            pair_loss = loss = (error**2).mean(where=different)
            losses = {"pair_loss": pair_loss}
            if self.has_origin:
                origin_error = head.distance(embeddings, head.embed_goal(origins)[:, None]) - origin_targets
                losses["goal_loss"] = (origin_error**2).mean()
                loss = self.config.goal_weight * losses["goal_loss"] + (1 - self.config.goal_weight) * pair_loss
            if self.config.ranking.weight > 0:
                losses["ranking_loss"] = self.config.ranking.loss(head, data.walks, walks, times, ranking_key)
                loss += losses["ranking_loss"]
            return loss, losses | {"loss": loss}

        gradients, losses = jax.grad(loss, has_aux=True)(state.params)
        return self.apply_gradients(state, gradients, ()), losses

    def _sample(self, walks: ImaginedWalks, key: Key[Array, ""]) -> tuple[Int[Array, "B K"], Int[Array, "B K"]]:
        """Draws walks, and in each walk evenly spread states at random offsets."""
        num_walks, num_states = walks.elapsed.shape
        per_walk = self.config.states_per_walk
        walk_key, time_key = jax.random.split(key)
        count = self.schedule.batch_size // per_walk
        chosen = jax.random.randint(walk_key, (count, 1), 0, num_walks)
        strata = jnp.arange(per_walk) + jax.random.uniform(time_key, (count, per_walk))
        times = jnp.floor(strata * (num_states / per_walk)).astype(jnp.int32)
        return jnp.broadcast_to(chosen, times.shape), jnp.minimum(times, num_states - 1)

    def _goals(self, indices: Int[Array, "B K"]) -> Int[Array, "B J"]:
        """Which states are the goals of a walk's states: its own, and perhaps those of the walk before it."""
        if not self.config.foreign_goals:
            return indices
        return jnp.concatenate([indices, jnp.roll(indices, 1, axis=0)], axis=1)

    def _pair_targets(
        self,
        state: TrainState,
        data: CostData,
        states: _Places,
        goals: _Places,
        is_own_walk: Bool[Array, "B K J"],
    ) -> Float[Array, "B K J"]:
        pairs = tuple(index[:, :, None] for index in states), tuple(index[:, None] for index in goals)
        if data.bellman is not None:
            bellman = data.bellman[*pairs[0], pairs[1][1]]
        else:
            bellman = self._sampled_bounds(state, data, states, goals)
        gaps = data.walks.elapsed[pairs[1]] - data.walks.elapsed[pairs[0]]
        is_bound = is_own_walk & (self.goal_rules.is_reversible | (gaps >= 0))
        gaps = jnp.where(is_bound, jnp.abs(gaps), self.config.max_cost)
        targets = jnp.minimum(jnp.minimum(gaps, bellman), self.config.max_cost)
        return jnp.where(data.goals.met_by(*pairs), 0.0, targets)

    def _sampled_bounds(
        self, state: TrainState, data: CostData, states: _Places, goals: _Places
    ) -> Float[Array, "B K J"]:
        successors = data.successor_embeddings[states]
        batch, num_states, num_actions, width = successors.shape
        head = self.module(state.params)
        distances = head.all_distances(successors.reshape(batch, -1, width), data.goal_embeddings[goals])
        distances = distances.reshape(batch, num_states, num_actions, -1).swapaxes(-1, -2)
        return self._bellman(state, distances, data.walks.legal_actions[states][:, :, None])

    def diagnose(self, state: TrainState, resources: Any) -> dict[str, Float[Array, ""]]:
        """See base class: one set of recorded walks, encoded and imagined, with the alarm of leaking time.

        Latents of an imperfect predictor drift, and a cost can learn to read the time off the drift. It then fits
        the elapsed time better on imagined walks than on the same walks as they were recorded.
        """
        world_model_params, trajectories = resources
        world_model, head = self.world_model.module(world_model_params), self.module(state.params)
        states, actions = trajectories.states[:_NUM_DIAGNOSED], trajectories.actions[:_NUM_DIAGNOSED]
        recorded = world_model.encode(states)

        def follow(latents, actions):
            latents = world_model.predict(latents, actions)
            return latents, latents

        _, imagined = jax.lax.scan(follow, recorded[:, 0], actions.T)
        times = jnp.arange(1, actions.shape[1] + 1)

        def time_error(latents):
            if self.goal_rules.hindsight_mask is not None:
                masks = self.goal_rules.masks(states[:, 1:], self.update_key)
                latents = leave_open(latents, masks, world_model.encoder.num_slots)
            return jnp.mean((head(recorded[:, :1], latents) - times) ** 2)

        recorded_error, imagined_error = time_error(recorded[:, 1:]), time_error(imagined.swapaxes(0, 1))
        leaks = imagined_error < (1 - DRIFT_TOLERANCE) * recorded_error
        return {
            "recorded_time_error": recorded_error,
            "imagined_time_error": imagined_error,
            "alarm_drift": leaks.astype(jnp.float32),
        }
