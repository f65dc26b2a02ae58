"""Sampled plans: follow what was learned with some chance, many times, and keep the best by the learned score."""

import dataclasses

from jaxtyping import Array, Float, Int

from jepa.planners.base import GoalLatents, PlanningModel
from jepa.planners.random_shooting import RandomShooting
from jepa.types import require_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicySampling(RandomShooting):
    """Draws action sequences from the actor, or from the costs of all successors where there is no actor.

        p(a | z, g)  ~  pi(a | z, g)^(1 / temperature),      or  exp(-cost(z', g) / temperature)

    Which of them is returned is decided as in random shooting: best-of-n by the learned score. With one sample it is
    a policy, followed with some chance.
    """

    num_samples: int = 64
    """Imagined action sequences per problem."""
    temperature: float = 1.0
    """How much is left to chance: near 0 always the best action; for costs, in moves."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        super().__post_init__()
        require_positive(self, "temperature")

    def log_weights(
        self, model: PlanningModel, latents: Float[Array, "B K D"], goal: GoalLatents
    ) -> Float[Array, "B K A"]:
        """See base class."""
        if model.propose is not None:
            return model.propose(latents, goal) / self.temperature
        legal = super().log_weights(model, latents, goal)
        successors = model.predict_all(latents.reshape(-1, latents.shape[-1]))
        costs = model.cost(successors.reshape(len(latents), -1, latents.shape[-1]), goal)
        return legal - costs.reshape(legal.shape) / self.temperature

    def num_nodes(self, model: PlanningModel, num_moves: Int[Array, "B K"], num_actions: int) -> Int[Array, " B"]:
        """See base class: those of each sample until it is at the goal; all successors, where costs are asked."""
        return num_moves.sum(axis=1) * (num_actions if model.propose is None else 1)

    def nodes_per_ply(self, num_actions: int) -> int:
        """See base class."""
        return self.num_samples * num_actions
