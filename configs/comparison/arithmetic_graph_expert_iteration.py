"""Arithmetic graphs, expert iteration, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import EPISODES, NETWORK, PROPOSALS, config, fewer_samples
from pocket_cube_expert_iteration import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        training=fewer_samples(on_the_cube.agent.training),
        episodes=EPISODES,
        practice=dataclasses.replace(on_the_cube.agent.practice, horizon=24),
        planner=PROPOSALS,
    ),
)
