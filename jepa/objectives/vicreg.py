"""VICReg's variance and covariance terms."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jepa.objectives.base import Regularizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class VICReg(Regularizer):
    """Hinge on each dimension's standard deviation, and squared off-diagonal covariances.

        variance = mean_d max(0, 1 - sqrt(Var(z_d) + eps)),  covariance = 1/D sum_{i != j} Cov(z)_{ij}^2

    The invariance term of the paper is the prediction loss here.

    Source: VICReg (Bardes, Ponce, LeCun, 2022, arXiv 2105.04906), equations 1 to 4.
    """

    variance_weight: float = 1.0
    """Factor of the variance hinge."""
    covariance_weight: float = 0.04
    """Factor of the covariance term."""

    def loss(self, latents: Float[Array, "B D"], key: Key[Array, ""]) -> Float[Array, ""]:
        """See base class; the key is not used."""
        centred = latents - latents.mean(axis=0)
        covariance = centred.T @ centred / (latents.shape[0] - 1)
        variances = jnp.diagonal(covariance)
        variance_loss = jax.nn.relu(1.0 - jnp.sqrt(variances + 1e-4)).mean()
        covariance_loss = (jnp.sum(covariance**2) - jnp.sum(variances**2)) / latents.shape[-1]
        return self.variance_weight * variance_loss + self.covariance_weight * covariance_loss
