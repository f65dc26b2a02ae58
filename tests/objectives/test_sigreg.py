import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.objectives.sigreg import SIGReg, epps_pulley

NUM_SAMPLES = 20_000
rng = np.random.default_rng(0)
NORMAL = rng.normal(size=(NUM_SAMPLES, 2))
SAMPLES = {
    "normal": NORMAL,
    "collapsed": np.zeros((NUM_SAMPLES, 2)),
    "shifted": NORMAL + 1.0,
    "bimodal": 0.2 * NORMAL + np.sign(rng.normal(size=(NUM_SAMPLES, 2))),
    "narrow": 0.5 * NORMAL,
    "wide": 3.0 * NORMAL,
}
statistic = jax.jit(epps_pulley, static_argnums=1)


def trapezoid(samples: np.ndarray, num_knots: int) -> float:
    """The statistic by its definition: complex exponentials, over both halves of the axis."""
    knots = np.linspace(-3, 3, 2 * num_knots - 1)
    distances = []
    for column in samples.T:
        characteristic = np.array([np.mean(np.exp(1j * t * column)) for t in knots])
        gap = np.abs(characteristic - np.exp(-(knots**2) / 2)) ** 2
        distances.append(np.trapezoid(gap * np.exp(-(knots**2) / 2), knots))
    return float(np.mean(distances))


def integral(samples: np.ndarray) -> float:
    """The same integral over the whole axis, solved: Gaussian kernels between all pairs of samples."""
    values = []
    for x in samples.T:
        pairs = np.exp(-((x[:, None] - x) ** 2) / 2).mean()
        values.append(
            np.sqrt(2 * np.pi) * pairs - 2 * np.sqrt(np.pi) * np.exp(-(x**2) / 4).mean() + np.sqrt(2 * np.pi / 3)
        )
    return float(np.mean(values))


@pytest.mark.parametrize("num_knots", [5, 17])
@pytest.mark.parametrize("name", SAMPLES)
def test_statistic_is_the_trapezoid_of_its_definition(name, num_knots):
    samples = SAMPLES[name][:500]
    expected = trapezoid(samples, num_knots)
    assert float(statistic(jnp.asarray(samples, jnp.float32), num_knots)) == pytest.approx(expected, rel=1e-3, abs=2e-6)


@pytest.mark.parametrize("name", SAMPLES)
def test_statistic_approximates_the_integral_in_closed_form(name):
    samples = SAMPLES[name][:500]
    # What lies beyond 3 has a weight of 2 x 0.0034 and a squared distance of at most 1 there.
    assert float(statistic(jnp.asarray(samples, jnp.float32), 17)) == pytest.approx(integral(samples), abs=0.008)


def test_only_a_standard_normal_fits():
    values = {name: float(statistic(jnp.asarray(samples, jnp.float32), 17)) for name, samples in SAMPLES.items()}
    normal = values.pop("normal")
    # Of n normal samples: (1 / n) x integral of (1 - exp(-t^2)) exp(-t^2 / 2), which is 1.06 / n.
    assert 0 <= normal < 5e-4
    assert min(values.values()) > 50 * normal, values


def test_loss_is_the_weighted_mean_over_unit_directions():
    latents = jnp.asarray(rng.normal(size=(512, 6)) @ rng.normal(size=(6, 6)), jnp.float32)
    one, three = SIGReg(weight=1.0, num_knots=17), SIGReg(weight=3.0, num_knots=17)
    losses = jax.jit(lambda latents, key: (one.loss(latents, key), three.loss(latents, key)))
    single, triple = losses(latents, jax.random.key(0))
    assert float(triple) == pytest.approx(3 * float(single), rel=1e-5)
    # Enough random directions of the test's own see the same distribution.
    directions = rng.normal(size=(6, 2000))
    directions /= np.linalg.norm(directions, axis=0)
    many = float(statistic(jnp.asarray(np.asarray(latents) @ directions, jnp.float32), 17))
    drawn = [float(losses(latents, jax.random.key(seed))[0]) for seed in range(20)]
    assert np.mean(drawn) == pytest.approx(many, abs=4 * np.std(drawn) / np.sqrt(len(drawn)))


def test_rotations_do_not_matter_to_isotropy():
    """A rotated Gaussian is the same Gaussian; a stretched one is not."""
    gaussian = rng.normal(size=(2000, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    stretched = gaussian * np.array([2.0, 0.5, 1, 1, 1, 1])
    loss = jax.jit(lambda latents: SIGReg(weight=1.0).loss(latents, jax.random.key(0)))
    plain, rotated, uneven = (
        float(loss(jnp.asarray(z, jnp.float32))) for z in (gaussian, gaussian @ rotation, stretched)
    )
    assert max(plain, rotated) < 2e-3 < 5 * 2e-3 < uneven
