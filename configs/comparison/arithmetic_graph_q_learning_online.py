"""Arithmetic graphs, deep Q-learning with hindsight replay from its own moves, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM, EPISODES, NETWORK, config, fewer_samples
from pocket_cube_q_learning_online import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        training=fewer_samples(on_the_cube.agent.training),
        episodes=EPISODES,
        planner=BEAM,
    ),
)
