"""Contrastive distances: states of one walk near each other, those of different walks apart; then a search."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jepa.agents.base import Params
from jepa.agents.guided_search import Guide, GuidedSearch, cost_guide
from jepa.agents.offline import GoalSampling, HindsightBatch, OfflineStage, rebuilt, sample_hindsight
from jepa.agents.walk_length import cost_network
from jepa.costs.base import Cost
from jepa.costs.euclidean import EuclideanCost
from jepa.envs.base import Env
from jepa.planners.base import Planner
from jepa.planners.best_first import BestFirstSearch
from jepa.training import Schedule, Stage
from jepa.types import Trajectories, require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveDistance(GuidedSearch):
    """InfoNCE with -|phi(s) - psi(g)| as the logit, g a later state of the walk of s; best first on that distance.

    With `copies_per_walk` = 2 every walk is drawn twice, so that its own states are among the negatives and what stays
    constant along a walk does not tell them apart (CRTR); with 1 it is contrastive RL (CRL) without its policy.

    Source: CRL (Eysenbach et al., 2022); CRTR (Ziarko et al., 2025).
    """

    head: Cost = EuclideanCost(hidden_width=512, num_blocks=1, embedding_width=64)
    """The distance."""
    goals: GoalSampling = GoalSampling(next_fraction=0.0, future_fraction=1.0, discount=0.9)
    """Which later states are positives."""
    copies_per_walk: int = 2
    """How often each walk is in a batch."""
    training: Schedule = Schedule(num_updates=10_000, batch_size=512, learning_rate=3e-4)
    """How long and how fast it learns."""
    max_passes: float = 40.0
    """How often each recorded move is learned from on average, at most: with few moves there are fewer updates, as the
    loss goes on falling after walks are known by heart and distances mean nothing any more."""
    planner: Planner = BestFirstSearch()
    """The search on the true dynamics."""

    def __post_init__(self):
        """Refuses copies that do not divide the batch, and no passes."""
        require_positive(self, "max_passes")
        if self.copies_per_walk < 1 or self.training.batch_size % self.copies_per_walk:
            raise ValueError(
                f"copies_per_walk must divide the batch of {self.training.batch_size}; got {self.copies_per_walk}"
            )

    def within(self, num_transitions: int) -> "ContrastiveDistance":
        """See base class: with at most `max_passes` through the moves, at least one compiled call of updates."""
        per_call = self.training.updates_per_call
        most = self.max_passes * num_transitions / self.training.batch_size
        num_updates = min(self.training.num_updates, max(1, int(most / per_call)) * per_call)
        return dataclasses.replace(self, training=dataclasses.replace(self.training, num_updates=num_updates))

    def stages(self, env: Env, trajectories: Trajectories, key: Key[Array, ""], mesh: Mesh) -> Sequence[Stage]:
        """See base class."""
        return [_ContrastiveStage(self, env, trajectories, key, mesh)]

    def guide(self, env: Env, params: Params) -> Guide:
        """See base class."""
        head = rebuilt(lambda rngs: cost_network(self.head, env, rngs), params[_ContrastiveStage.name])
        return cost_guide(head)


class _ContrastiveStage(OfflineStage):
    name = "cost"

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        return cost_network(self.config.head, self.env, rngs)

    def sample(self, trajectories: Trajectories, key: Key[Array, ""]) -> HindsightBatch:
        copies = self.config.copies_per_walk
        walk_key, key = jax.random.split(key)
        count = self.schedule.batch_size // copies
        chosen = jax.random.randint(walk_key, (count,), 0, len(trajectories.actions))
        walks = jnp.repeat(chosen, copies)
        return sample_hindsight(self.env, trajectories, len(walks), self.config.goals, key, walks)

    def loss(self, module, target, batch, key):
        embeddings, goals = module.embed(batch.codes), module.embed_goal(batch.goals)
        logits = -module.all_distances(embeddings, goals)
        labels = jnp.arange(len(logits))
        forward = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        backward = optax.softmax_cross_entropy_with_integer_labels(logits.T, labels).mean()
        return (forward + backward) / 2, {"accuracy": jnp.mean(logits.argmax(axis=1) == labels)}
