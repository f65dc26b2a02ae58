"""Arithmetic graphs, PPO from the reward of reaching the goal, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import EPISODES, NETWORK, PROPOSALS, config
from pocket_cube_ppo import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        episodes=EPISODES,
        planner=PROPOSALS,
    ),
)
