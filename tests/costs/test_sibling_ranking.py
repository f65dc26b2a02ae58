import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.costs.base import CostModule
from jepa.costs.imagination import ImaginedWalks
from jepa.costs.sibling_ranking import SiblingRanking

NUM_WALKS, NUM_STATES, NUM_ACTIONS = 3, 7, 4


class LineCost(CostModule):
    """Distance on a line."""

    def embed(self, latents):
        return latents

    def distance(self, embeddings, goals):
        return jnp.abs(embeddings - goals).sum(axis=-1)


@pytest.mark.parametrize("offset", [-3.0, 0.0, 2.0])
def test_loss_in_closed_form(offset):
    """Walks away from the goal on a line; one action is legal, it leads to t + offset, and the others to nowhere."""
    times = np.arange(NUM_STATES)
    legal = np.zeros((NUM_WALKS, NUM_STATES, NUM_ACTIONS), bool)
    np.put_along_axis(legal, np.random.default_rng(0).integers(NUM_ACTIONS, size=(*legal.shape[:2], 1)), True, axis=2)
    walks = ImaginedWalks(
        latents=jnp.tile(jnp.float32(times)[:, None], (NUM_WALKS, 1, 1)),
        successors=jnp.asarray(np.where(legal, (times + offset)[:, None], np.nan)[..., None], jnp.float32),
        legal_actions=jnp.asarray(legal),
        undoing=jnp.zeros(legal.shape, bool),
        goals=jnp.zeros((NUM_WALKS, 1)),
        elapsed=jnp.tile(jnp.asarray(times), (NUM_WALKS, 1)),
    )
    indices, chosen = jnp.array([[0] * 4, [2] * 4]), jnp.array([[0, 1, 3, 6], [0, 2, 4, 5]])
    loss = SiblingRanking(weight=3.0, num_siblings=5).loss(LineCost(), walks, indices, chosen, jax.random.key(0))
    ranked = np.array([1, 3, 6, 2, 4, 5])
    excess = (ranked - 1) - np.abs(ranked + offset)
    assert float(loss) == pytest.approx(3.0 * np.log1p(np.exp(excess)).mean(), rel=1e-5)
