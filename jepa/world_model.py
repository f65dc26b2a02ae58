"""The JEPA world model: encode states, predict the latents of their successors, learn both from recorded moves.

There is no decoder and no reward. A state's latent is whatever makes the latents after each action predictable
without letting all latents become the same:

    z_t       = encode(s_t)
    z'_(t+1)  = predict(z_t, a_t),  z'_(t+2) = predict(z'_(t+1), a_(t+1)), ...
    loss      = |z'_(t+k) - stop_gradient(z_(t+k))|^2  +  regularizer(z)  [+ code separation, inverse dynamics]
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from jepa.encoders.base import Encoder
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.base import Env
from jepa.latents import leave_open
from jepa.objectives.base import Regularizer, Target
from jepa.objectives.code_separation import CodeSeparation
from jepa.objectives.inverse_dynamics import InverseDynamics
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.objectives.stop_gradient import StopGradientTarget
from jepa.predictors.base import Predictor
from jepa.predictors.legality import Legality, LegalityHead
from jepa.predictors.reidentification import NearestCode, Reidentification
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.types import Goal, Trajectories


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldModel:
    """The parts of a world model and what they are trained for.

    The defaults keep one latent per token, which is exact where the recorded moves cover the domain (and not
    where they do not: docs/model_gap.md); a flat latent with one operator per action is cheaper where it is
    exact too (see configs/pocket_cube.py).
    """

    encoder: Encoder = TokenSlotsEncoder()
    """Observation tokens to latents."""
    predictor: Predictor = SlotMixerPredictor()
    """A latent and an action to the next latent."""
    prediction: RolloutPrediction = RolloutPrediction(weight=10.0, input_noise=0.3)
    """The loss that predictions are trained for."""
    target: Target = StopGradientTarget()
    """Which encoder makes the latents that predictions are compared with."""
    regularizer: Regularizer = SIGReg(weight=0.01)
    """What keeps the latents from collapsing."""
    code_separation: CodeSeparation = CodeSeparation()
    """What keeps the codes of tokens apart, where the encoder has one for each."""
    inverse_dynamics: InverseDynamics = InverseDynamics()
    """Makes actions recoverable from consecutive latents (or only measures it, at weight 0)."""
    legality: Legality = LegalityHead()
    """Reads the legal actions from a latent."""
    reidentification: Reidentification = NearestCode()
    """How predicted latents are moved onto latents of states, when imagining and planning."""

    def build(self, env: Env, key: Key[Array, ""]) -> "WorldModelModule":
        """Creates the modules with fresh parameters for the sizes of a domain."""
        return WorldModelModule(self, env, nnx.Rngs(key))


class WorldModelModule(nnx.Module):
    """The modules of a world model; pure apart from the parameters that it holds."""

    def __init__(self, config: WorldModel, env: Env, rngs: nnx.Rngs):
        self.config = config
        self.encoder = config.encoder.build(num_tokens=env.num_tokens, vocab_size=env.vocab_size, rngs=rngs)
        sizes = dict(latent_width=self.encoder.latent_width, num_actions=env.num_actions, rngs=rngs)
        self.predictor = config.predictor.build(num_slots=self.encoder.num_slots, **sizes)
        self.legality = config.legality.build(num_slots=self.encoder.num_slots, **sizes)
        self.inverse_dynamics = config.inverse_dynamics.build(**sizes)
        self.reidentifier = config.reidentification.build(
            encoder=self.encoder, num_tokens=env.num_tokens, vocab_size=env.vocab_size, rngs=rngs
        )

    def encode(self, tokens: Int[Array, "*B N"]) -> Float[Array, "*B D"]:
        """Returns the latents of states."""
        return self.encoder(tokens)

    def encode_goal(self, goal: Goal) -> Float[Array, "*B D"]:
        """Returns goal latents: the encoded tokens, with zeros in the slots that a partial goal leaves open."""
        latents = self.encode(goal.tokens)
        if self.encoder.num_slots == 1:
            return latents
        return leave_open(latents, goal.mask, self.encoder.num_slots)

    def read_tokens(self, latents: Float[Array, "*B D"]) -> Int[Array, "*B N"]:
        """Returns the tokens whose codes are nearest to each slot; exact for latents of states.

        Raises:
          ValueError: the encoder does not keep one unmixed slot per token.
        """
        codes = self.encoder.slot_codes()
        if codes is None:
            raise ValueError("tokens can only be read off latents with one unmixed slot per token (TokenSlotsEncoder)")
        slots = latents.reshape(*latents.shape[:-1], self.encoder.num_slots, -1)
        return jnp.argmax(slots @ codes.T, axis=-1)

    def predict(self, latents: Float[Array, "B D"], actions: Int[Array, " B"]) -> Float[Array, "B D"]:
        """Returns the re-identified latents after one action each."""
        return self.reidentifier(self.predictor(latents, actions), self.encoder)

    def predict_all(self, latents: Float[Array, "B D"]) -> Float[Array, "B A D"]:
        """Returns the re-identified latents after every action."""
        return self.reidentifier(self.predictor.all_actions(latents), self.encoder)

    def legal_actions(self, latents: Float[Array, "*B D"]) -> Bool[Array, "*B A"]:
        """Returns which actions are predicted to be legal."""
        return self.legality(latents) > 0

    def loss(
        self, batch: Trajectories, target_encoder: Any, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Returns the training loss on B recorded windows, and what it is made of.

        Args:
          batch: windows of `prediction.horizon` moves.
          target_encoder: the encoder module that makes the targets.
          key: for the input noise and the regularizer's random directions.
        """
        noise_key, regularizer_key = jax.random.split(key)
        # The states of a window resemble each other: regularizing the first one costs a third and tells as much.
        latents, next_latents = self.encode(batch.states[:, 0]), self.encode(batch.states[:, 1])
        targets = jax.lax.stop_gradient(target_encoder(batch.states[:, 1:]))
        predicted = self.config.prediction.rollout(
            self.predictor, latents, batch.actions, self.encoder.num_slots, noise_key
        )
        prediction_loss = self.config.prediction.loss(predicted, targets)
        regularizer_loss = self.config.regularizer.loss(latents, regularizer_key)
        if (codes := self.encoder.slot_codes()) is not None:
            regularizer_loss += self.config.code_separation.loss(codes)
        inverse_weight = self.config.inverse_dynamics.weight
        pair = (latents, next_latents)
        if inverse_weight == 0:
            pair = jax.lax.stop_gradient(pair)
        inverse_loss = self.inverse_dynamics.loss(*pair, batch.actions[:, 0])
        frozen = jax.lax.stop_gradient(latents)
        legality_logits = self.legality(frozen)
        legality_loss = optax.sigmoid_binary_cross_entropy(legality_logits, batch.legal_actions[:, 0]).mean()
        probe_loss = legality_loss + self.reidentifier.loss(frozen, batch.states[:, 0])
        loss = prediction_loss + regularizer_loss + (inverse_weight or 1.0) * inverse_loss + probe_loss
        return loss, {
            "loss": prediction_loss + regularizer_loss,
            "prediction_error": jnp.mean((predicted - targets) ** 2),
            "regularizer_loss": regularizer_loss,
            "inverse_dynamics_loss": inverse_loss,
            "legality_error": jnp.mean((legality_logits > 0) != batch.legal_actions[:, 0]),
        }
