"""What `benchmarks/form_or_losses.py` compares, and how it looks ahead."""

import jax
import pytest
from flax import nnx

from benchmarks.form_or_losses import foresight, rows
from jepa.agents.exact_model import exact_codes, exact_planning_model
from jepa.envs.sliding_tiles import SlidingTiles

ENV = SlidingTiles(rows=3, columns=3)


def encode(tokens):
    return exact_codes(ENV, tokens)


def test_the_true_dynamics_foresee_everything_and_standing_still_nothing_like_it():
    exact = exact_planning_model(ENV, cost=lambda codes, goals: None)
    assert foresight(ENV, encode, exact.predict, num_walks=32) == [1.0, 1.0, 1.0]
    assert foresight(ENV, encode, lambda latents, actions: latents, num_walks=32)[-1] < 0.9


@pytest.mark.parametrize("form", ["as MuZero's", "linear latents"])
@pytest.mark.parametrize("domain", ["pocket_cube", "sliding_tiles"])
def test_both_losses_train_the_same_networks(domain, form):
    compared = rows()
    ours, theirs = (compared[domain, losses, form] for losses in ("ours", "MuZero's"))
    built = ours.agent.world_model.build(ours.env, jax.random.key(0))
    other = theirs.agent.networks(theirs.env, nnx.Rngs(0))
    sizes = lambda *modules: sorted(leaf.shape for leaf in jax.tree.leaves([nnx.state(m) for m in modules]))  # noqa: E731
    representation = [part for part in (other.input, other.block, other.output) if part is not None]
    assert sizes(built.predictor) == sizes(other.dynamics)
    assert sizes(built.encoder) == sizes(*representation)
