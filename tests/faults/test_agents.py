"""A baseline that makes its own moves, killed: episodes, replay buffer and random numbers continue. (F24)

That every method continues to the same bits is in `tests/agents/test_resume.py`.
"""

import random
import time

import pytest

from tests.faults.programs import SMALL_AGENT, assert_same_bits, num_rows, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CONFIG = '''"""A baseline that makes its own moves, on 2x3 sliding tiles."""

from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment, shrink
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.agents.q_learning_online import OnlineQLearning

agent = shrink(OnlineQLearning(), **{sizes})
config = Experiment(
    env=SlidingTiles(rows=2, columns=3),
    behaviour=NonBacktrackingWalks(walk_length=14),
    num_transitions=24 * agent.moves_per_round,
    agent=agent,
)
'''


def test_a_killed_baseline_resumes_to_the_same_bits(place, figure):
    """The sizes once more in the config, and so many rounds that a kill comes in between."""
    sizes = SMALL_AGENT | {"num_updates": 24}
    (place.folder / "player.py").write_text(CONFIG.format(sizes=sizes))
    words = ("--seconds-between-checkpoints", 0)
    unbroken = place.trained("player.py", "player-unbroken", *words)
    folder = place.folder / "player-killed"
    with place.start("train.py", "player.py", "--run-dir", folder, *words) as process:
        wait_until(lambda: num_rows(folder) >= 5, process)
        time.sleep(0.2 * random.Random(0).random())
        process.kill()
    assert process.returncode == -9, "it was over before it was killed"
    again = place.run("train.py", "player.py", "--run-dir", folder, *words)
    assert again.returncode == 0 and "Resuming after" in again.stderr, again.stderr
    num_compared = assert_same_bits(folder, unbroken)
    figure("kills_tried", 1)
    figure("kills_survived", 1)
    figure("loss_rows_compared", num_compared)
    figure("loss_rows_bit_equal", num_compared)
