"""Inverse dynamics: the action must be recoverable from two consecutive latents."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseDynamics:
    """Cross-entropy of the action given [z, z'], with gradient into the encoder.

    Source: the IDM term of PLDM (Sobal et al., 2025, arXiv 2502.14819), here for discrete actions.
    """

    weight: float = 0.0
    """Factor of the loss; 0 trains the head as a probe, without gradient into the encoder."""
    hidden_width: int = 64
    """Hidden width of the head."""

    def build(self, *, latent_width: int, num_actions: int, rngs: nnx.Rngs) -> "InverseDynamicsModule":
        """Creates the module with fresh parameters."""
        return InverseDynamicsModule(self, latent_width, num_actions, rngs)


class InverseDynamicsModule(nnx.Module):
    """Two consecutive latents to one logit per action."""

    def __init__(self, config: InverseDynamics, latent_width: int, num_actions: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(2 * latent_width, config.hidden_width, rngs=rngs)
        self.output = nnx.Linear(config.hidden_width, num_actions, rngs=rngs)

    def __call__(self, latents: Float[Array, "*B D"], next_latents: Float[Array, "*B D"]) -> Float[Array, "*B A"]:
        """Returns logits."""
        pair = jnp.concatenate([latents, next_latents], axis=-1)
        return self.output(jax.nn.relu(self.hidden(pair)))

    def loss(
        self, latents: Float[Array, "*B D"], next_latents: Float[Array, "*B D"], actions: Int[Array, "*B"]
    ) -> Float[Array, ""]:
        """Returns the unweighted mean cross-entropy in nats."""
        logits = self(latents, next_latents)
        return optax.softmax_cross_entropy_with_integer_labels(logits, actions).mean()
