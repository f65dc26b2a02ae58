import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.objectives.vicreg import VICReg

KEY = jax.random.key(0)


@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 3.0])
def test_loss_is_the_formula_of_the_paper(scale):
    rng = np.random.default_rng(0)
    latents = (scale * rng.normal(size=(64, 5)) @ rng.normal(size=(5, 5)) + 2.0).astype(np.float32)
    covariance = np.cov(latents, rowvar=False)
    variance_loss = np.mean([max(0.0, 1 - np.sqrt(np.var(column, ddof=1) + 1e-4)) for column in np.float64(latents).T])
    covariance_loss = sum(covariance[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    loss = VICReg(variance_weight=2.0, covariance_weight=0.3).loss(jnp.asarray(latents), KEY)
    assert float(loss) == pytest.approx(2.0 * variance_loss + 0.3 * covariance_loss, rel=1e-4)


def test_uncorrelated_dimensions_of_variance_1_cost_nothing():
    # Rows of a Hadamard matrix: exactly uncorrelated, variance 8 / 7.
    hadamard = np.array([[(-1.0) ** bin(i & j).count("1") for j in range(1, 8)] for i in range(8)], np.float32)
    assert float(VICReg().loss(jnp.asarray(hadamard), KEY)) == pytest.approx(0, abs=1e-6)
