"""Arithmetic graphs, AlphaZero with Gumbel tree search on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import EPISODES, NETWORK, TREE, config, fewer_samples
from pocket_cube_alpha_zero import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        training=fewer_samples(on_the_cube.agent.training),
        episodes=dataclasses.replace(EPISODES, num_envs=64),
        planner=TREE,
    ),
)
