"""Which actions are legal, read from the latent: a planner has no environment to ask."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class LegalityHead:
    """A small perceptron on stop-gradient latents, trained on the recorded masks of legal actions."""

    hidden_width: int = 32
    """Hidden width."""

    def build(self, *, latent_width: int, num_actions: int, rngs: nnx.Rngs) -> "LegalityModule":
        """Creates the module with fresh parameters."""
        return LegalityModule(self, latent_width, num_actions, rngs)


class LegalityModule(nnx.Module):
    """Latents to one logit per action; an action counts as legal where the logit is positive."""

    def __init__(self, config: LegalityHead, latent_width: int, num_actions: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(latent_width, config.hidden_width, rngs=rngs)
        self.output = nnx.Linear(config.hidden_width, num_actions, rngs=rngs)

    def __call__(self, latents: Float[Array, "*B D"]) -> Float[Array, "*B A"]:
        """Returns logits."""
        return self.output(jax.nn.relu(self.hidden(latents)))
