"""The JEPA loss: predicted latents against target latents, over a rollout."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jepa.latents import normalize_slots


@dataclasses.dataclass(frozen=True, kw_only=True)
class RolloutPrediction:
    """Mean squared error of an open-loop rollout against the targets, with noise on the predictor's inputs.

    The noise makes the predictor correct errors instead of passing them on: a search of thousands of nodes looks
    for the errors of its model. Its size is drawn per sample and step, uniformly up to `input_noise`, so that
    clean inputs are seen too.
    """

    weight: float = 1.0
    """Factor of the loss."""
    horizon: int = 2
    """Number of moves that are predicted before comparing with recorded states again."""
    input_noise: float = 0.2
    """Largest standard deviation of the noise; a latent's own standard deviation is 1."""

    def rollout(
        self,
        predict: Callable[[Float[Array, "B D"], Int[Array, " B"]], Float[Array, "B D"]],
        start: Float[Array, "B D"],
        actions: Int[Array, "B T"],
        num_slots: int,
        key: Key[Array, ""],
    ) -> Float[Array, "B T D"]:
        """Returns the latents predicted after each action."""
        latents, predicted_latents = start, []
        for step in range(actions.shape[1]):
            size_key, noise_key = jax.random.split(jax.random.fold_in(key, step))
            sizes = self.input_noise * jax.random.uniform(size_key, (start.shape[0], 1))
            noisy = latents + sizes * jax.random.normal(noise_key, latents.shape)
            latents = predict(normalize_slots(noisy, num_slots), actions[:, step])
            predicted_latents.append(latents)
        return jnp.stack(predicted_latents, axis=1)

    def loss(self, predicted_latents: Float[Array, "B T D"], target_latents: Float[Array, "B T D"]) -> Float[Array, ""]:
        """Returns the weighted loss."""
        return self.weight * jnp.mean((predicted_latents - target_latents) ** 2)
