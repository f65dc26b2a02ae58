"""The networks of MuZero: representation, dynamics, and what is read from latents."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jepa.actors.base import Actor, proposals
from jepa.agents.guided_search import moves_of_value
from jepa.encoders.residual_mlp import ResidualBlock
from jepa.envs.base import Env
from jepa.latents import normalize_slots
from jepa.planners.base import PlanningModel
from jepa.predictors.base import Predictor
from jepa.predictors.legality import Legality


class MuZeroNetworks(nnx.Module):
    """h, g, policy, value, whether the goal is reached, and legality; and what EfficientZero compares latents by."""

    def __init__(
        self,
        env: Env,
        *,
        head: Actor,
        dynamics: Predictor,
        legality: Legality,
        latent_width: int,
        hidden_width: int,
        token_slots: bool,
        is_consistent: bool,
        rngs: nnx.Rngs,
    ):
        self.num_slots = env.num_tokens if token_slots else 1
        num_inputs = env.num_tokens * env.vocab_size // self.num_slots
        self.input = nnx.Linear(num_inputs, hidden_width, rngs=rngs) if hidden_width else None
        self.block = ResidualBlock(hidden_width, hidden_width, rngs) if hidden_width else None
        self.output = nnx.Linear(hidden_width or num_inputs, latent_width, rngs=rngs)
        sizes = dict(latent_width=self.num_slots * latent_width, num_slots=self.num_slots, rngs=rngs)
        self.dynamics = dynamics.build(num_actions=env.num_actions, **sizes)
        self.legality = legality.build(num_actions=env.num_actions, **sizes)
        self.policy = head.build(num_actions=env.num_actions, **sizes)
        self.value = head.build(num_actions=1, **sizes)
        self.reached = head.build(num_actions=1, **sizes)
        if is_consistent:
            self.projection = _Perceptron(latent_width, rngs)
            self.foretelling = _Perceptron(latent_width, rngs)

    def represent(self, codes: Float[Array, "*B N"]) -> Float[Array, "*B D"]:
        """Returns the latents of states, or of goals; every slot is seen by itself, and all alike."""
        slots = self._slots(codes)
        hidden = slots if self.input is None else jax.nn.relu(self.block(self.input(slots)))
        return normalize_slots(self.output(hidden).reshape(*codes.shape[:-1], -1), self.num_slots)

    def unroll(self, codes: Float[Array, "B N"], actions: Int[Array, "B K"]) -> Float[Array, "B K+1 D"]:
        """Returns the latents of states and after each of the moves from there; gradients halve with every move."""

        def move(latents, actions):
            following = self.dynamics(latents, actions)
            following = (following + jax.lax.stop_gradient(following)) / 2
            return following, following

        first = self.represent(codes)
        _, later = jax.lax.scan(move, first, actions.T)
        return jnp.concatenate([first[None], later]).swapaxes(0, 1)

    def distances(self, unrolled: Float[Array, "*B D"], came: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        """Returns 1 minus the cosine of what unrolled latents foretell and the latents that came, which are held fixed.

        The mean over slots.

        Source: SimSiam (Chen and He, 2021), as in EfficientZero (Ye et al., 2021).
        """
        foretold = self.foretelling(self.projection(self._slots(unrolled)))
        fixed = jax.lax.stop_gradient(self.projection(self._slots(came)))
        return 1 - (_unit(foretold) * _unit(fixed)).sum(axis=-1).mean(axis=-1)

    def _slots(self, numbers: Float[Array, "*B D"]) -> Float[Array, "*B S W"]:
        return numbers.reshape(*numbers.shape[:-1], self.num_slots, -1)

    def planning_model(self, discount: float, *, masked: bool) -> PlanningModel:
        """Returns the learned model for a search; goals are latents [B, K, D] of K alternatives.

        The cost is the number of moves that the value stands for; the difference to the goal is the probability that
        it is not reached.

        Args:
          discount: what a value is worth less one move earlier.
          masked: whether the legal actions are those that are read from latents, or all.
        """

        def over_goals(head, latents: Float[Array, "B C D"], goals: Float[Array, "B K D"]) -> Float[Array, "B C"]:
            return head(latents[:, :, None], goals[:, None])[..., 0].max(axis=-1)

        def legal_actions(latents: Float[Array, "*B D"]) -> Bool[Array, "*B A"]:
            logits = self.legality(latents)
            return logits > 0 if masked else jnp.ones(logits.shape, bool)

        return PlanningModel(
            predict_all=self.dynamics.all_actions,
            predict=self.dynamics,
            legal_actions=legal_actions,
            cost=lambda latents, goals: moves_of_value(over_goals(self.value, latents, goals), discount),
            goal_difference=lambda latents, goals: 1 - jax.nn.sigmoid(over_goals(self.reached, latents, goals)),
            propose=lambda latents, goals: proposals(self.policy, latents, goals, legal_actions(latents)),
        )


class _Perceptron(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.expand = nnx.Linear(width, 2 * width, rngs=rngs)
        self.contract = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, inputs: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return self.contract(jax.nn.relu(self.expand(inputs)))


def _unit(vectors: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    return vectors * jax.lax.rsqrt((vectors**2).sum(axis=-1, keepdims=True) + 1e-6)
