"""A world model that is exact: one-hot slots for states, the environment for predictor and legality head.

Built from the same configs as learned ones, so that whatever runs on a world model can be tested against exact
distances. Its single parameter does nothing.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jepa.encoders.base import Encoder, EncoderModule
from jepa.envs.base import Env
from jepa.latents import normalize_slots
from jepa.predictors.base import Predictor, PredictorModule
from jepa.predictors.legality import Legality, LegalityModule
from jepa.predictors.reidentification import NoReidentification
from jepa.world_model import WorldModel


class OneHotModule(EncoderModule):
    def __init__(self, num_tokens: int, vocab_size: int):
        self.num_slots = num_tokens
        self.latent_width = num_tokens * vocab_size
        self.vocab_size = vocab_size
        self.idle = nnx.Param(jnp.zeros(1))

    def __call__(self, tokens):
        codes = jax.nn.one_hot(tokens, self.vocab_size).reshape(*tokens.shape[:-1], -1)
        return normalize_slots(codes, self.num_slots)

    def slot_codes(self):
        return normalize_slots(jnp.eye(self.vocab_size), 1)

    def decode(self, latents):
        return jnp.argmax(latents.reshape(*latents.shape[:-1], self.num_slots, -1), axis=-1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneHotEncoder(Encoder):
    def build(self, *, num_tokens, vocab_size, rngs):
        return OneHotModule(num_tokens, vocab_size)


class ExactPredictorModule(PredictorModule):
    def __init__(self, env: Env):
        self.env = env
        self.num_actions = env.num_actions

    def __call__(self, latents, actions):
        encoder = OneHotModule(self.env.num_tokens, self.env.vocab_size)
        return encoder(jax.vmap(self.env.step)(encoder.decode(latents), actions))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactPredictor(Predictor):
    env: Env

    def build(self, *, latent_width, num_slots, num_actions, rngs):
        return ExactPredictorModule(self.env)


class ExactLegalityModule(LegalityModule):
    def __init__(self, env: Env):
        self.env = env

    def __call__(self, latents):
        states = OneHotModule(self.env.num_tokens, self.env.vocab_size).decode(latents)
        legal = jax.vmap(self.env.legal_actions)(states.reshape(-1, self.env.num_tokens))
        return jnp.where(legal, 10.0, -10.0).reshape(*latents.shape[:-1], -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactLegality(Legality):
    env: Env

    def build(self, *, latent_width, num_slots, num_actions, rngs):
        return ExactLegalityModule(self.env)


def exact_world_model(env: Env) -> WorldModel:
    """Returns the config of the exact world model of a domain."""
    return WorldModel(
        encoder=OneHotEncoder(),
        predictor=ExactPredictor(env=env),
        legality=ExactLegality(env=env),
        reidentification=NoReidentification(),
    )


def breadth_first(env: Env, start: np.ndarray) -> dict[tuple[int, ...], int]:
    """Returns every state that can be reached from a state, with its number of moves from there."""
    over_actions = jax.vmap(env.step, in_axes=(None, 0))
    step = jax.jit(jax.vmap(over_actions, in_axes=(0, None)))
    distances = {tuple(start.tolist()): 0}
    frontier = list(distances)
    while frontier:
        padded = np.array(frontier + [frontier[0]] * (-len(frontier) % 64), np.int32)
        states = np.asarray(step(padded, np.arange(env.num_actions))).reshape(-1, env.num_tokens)
        new = set(map(tuple, states.tolist())) - distances.keys()
        distances |= dict.fromkeys(new, distances[frontier[0]] + 1)
        frontier = sorted(new)
    return distances
