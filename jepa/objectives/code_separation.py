"""Code separation: tokens that are easily mixed up may not become the same.

Where each token has a latent of its own, a regularizer of whole latents hardly notices when two codes merge, least of
all those of rare tokens: one box among forty floor cells vanishes from every statistic, and a predictor that need not
move boxes has an easy life. The codes can be kept apart themselves.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeSeparation:
    """Sum over pairs of codes of relu(1 - d / margin)^2, d their mean squared difference: 0 once all are apart.

    A hinge on distances, as VICReg has one on variances (Bardes et al., 2022, arXiv 2105.04906, equation 1). It allows
    codes to be opposite, and then a linear function cannot tell every token of a slot from all others: 24 codes may
    span as few as 12 directions. `orthogonality` adds the sum over pairs of the squared cosine, which is 0 only for
    codes that span as many directions as there are codes.
    """

    weight: float = 1.0
    """Factor of the loss; 0 lets codes merge. Without effect on encoders that have no codes."""
    margin: float = 1.0
    """Least mean squared difference that costs nothing; independent codes differ by about 2."""
    orthogonality: float = 0.0
    """Factor of the squared cosines; needs slots that are wider than there are tokens to come down to 0."""

    def loss(self, codes: Float[Array, "V D_slot"]) -> Float[Array, ""]:
        """Returns the weighted loss of the codes of all tokens."""
        differences = code_differences(codes)
        missing = jax.nn.relu(1 - differences / self.margin) ** 2
        cosines = 1 - differences / 2
        cost = self.weight * missing + self.orthogonality * cosines**2
        return cost.sum(where=~jnp.eye(len(codes), dtype=bool)) / 2


def code_differences(codes: Float[Array, "V D_slot"]) -> Float[Array, "V V"]:
    """Returns the mean squared difference of every pair of codes, which have mean square 1."""
    return 2 * (1 - codes @ codes.T / codes.shape[-1])


def closest_codes(codes: Float[Array, "V D_slot"]) -> Float[Array, ""]:
    """Returns the mean squared difference of the two closest codes."""
    return jnp.where(jnp.eye(len(codes), dtype=bool), jnp.inf, code_differences(codes)).min()
