"""SIGReg: push the distribution of latents toward an isotropic Gaussian, one random direction at a time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jepa.objectives.base import Regularizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SIGReg(Regularizer):
    """Mean over random directions u of the Epps-Pulley distance between u.z and a standard normal.

    For the empirical characteristic function phi of the projected batch:

        integral |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt,

    by the trapezoid rule on [0, 3] and symmetry. Written from the paper; unlike there the statistic is not
    multiplied by the batch size, so that its weight means the same for every batch.

    Source: LeJEPA (Balestriero and LeCun, 2025, arXiv 2511.08544), sections 4.1 and 4.2.
    """

    weight: float = 0.1
    """Factor of the loss; no more than collapse requires."""
    num_directions: int = 64
    """Random directions, drawn anew for every update."""
    num_knots: int = 9
    """Points of the trapezoid rule; the integrand is so smooth that the paper's 17 change nothing."""

    def loss(self, latents: Float[Array, "B D"], key: Key[Array, ""]) -> Float[Array, ""]:
        """See base class."""
        return self.weight * epps_pulley(latents @ self._directions(latents.shape[-1], key), self.num_knots)

    def _directions(self, latent_width: int, key: Key[Array, ""]) -> Float[Array, "D M"]:
        directions = jax.random.normal(key, (latent_width, self.num_directions))
        return directions / jnp.linalg.norm(directions, axis=0)


def epps_pulley(samples: Float[Array, "B M"], num_knots: int = 9) -> Float[Array, ""]:
    """Returns the mean over M columns of the Epps-Pulley statistic against N(0, 1); 0 is a perfect fit."""
    knots = np.linspace(0.0, 3.0, num_knots)
    weights = np.full(num_knots, 2 * 3.0 / (num_knots - 1))
    weights[[0, -1]] /= 2
    normal = np.exp(-(knots**2) / 2)
    cosine, sine = _characteristic(samples * knots[1], num_knots)
    distance = (cosine - normal[:, None]) ** 2 + sine**2
    return ((weights * normal) @ distance).mean()


def _characteristic(angles: Float[Array, "B M"], num_knots: int) -> tuple[Float[Array, "K M"], Float[Array, "K M"]]:
    """Batch means of cos(k x) and sin(k x), k = 0, 1, ..., by the Chebyshev recurrence.

    Two trigonometric evaluations per sample instead of 2 x num_knots, which would dominate an update on a CPU.
    """
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    cosines, sines = [jnp.ones_like(cosine), cosine], [jnp.zeros_like(sine), sine]
    for _ in range(num_knots - 2):
        cosines.append(2 * cosine * cosines[-1] - cosines[-2])
        sines.append(2 * cosine * sines[-1] - sines[-2])
    return (
        jnp.stack([values.mean(axis=0) for values in cosines]),
        jnp.stack([values.mean(axis=0) for values in sines]),
    )
