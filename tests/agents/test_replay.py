"""A memory of the newest samples, against a list that is cut to its length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jepa.agents.alpha_zero import AlphaZero
from jepa.agents.expert_iteration import ExpertIteration
from jepa.agents.mu_zero import MuZero
from jepa.agents.q_learning_online import OnlineQLearning
from jepa.agents.replay import empty_replay


def test_the_newest_wanted_samples_are_kept():
    rng = np.random.default_rng(0)
    replay = empty_replay({"number": jnp.zeros((), jnp.int32), "square": jnp.zeros(2)}, capacity=10)
    keep, expected = jax.jit(lambda replay, samples, wanted: replay.keep(samples, wanted)), []
    for first in range(0, 70, 7):
        numbers, wanted = np.arange(first, first + 7), rng.random(7) < 0.6
        samples = {"number": numbers, "square": np.stack([numbers**2.0, numbers], axis=1)}
        replay = keep(replay, samples, wanted)
        expected += numbers[wanted].tolist()
        newest = expected[-10:]
        assert int(replay.count) == len(expected) and int(replay.num_samples) == len(newest)
        found = replay.at(jnp.arange(len(newest)))
        assert sorted(found["number"].tolist()) == newest
        np.testing.assert_array_equal(found["square"][:, 0], found["number"] ** 2.0)


def test_only_places_that_are_taken_are_drawn():
    replay = empty_replay(jnp.zeros(()), capacity=8)
    assert (replay.draw((20,), jax.random.key(0)) == 0).all()  # nothing yet
    replay = replay.keep(jnp.ones(3), jnp.ones(3, bool))
    places = replay.draw((50, 4), jax.random.key(1))
    assert set(np.unique(places)) == {0, 1, 2}


@pytest.mark.parametrize("agent", [AlphaZero, ExpertIteration, MuZero, OnlineQLearning])
def test_few_moves_are_learned_from_as_often_as_many(agent):
    few, many = agent().within(14_000), agent().within(10**6)
    samples = [small.training.num_updates * small.training.batch_size for small in (few, many, agent())]
    assert samples[0] >= samples[2] and samples[1] >= samples[2]
    with pytest.raises(ValueError, match="samples_per_step must be above 0; got 0"):
        agent(samples_per_step=0)
