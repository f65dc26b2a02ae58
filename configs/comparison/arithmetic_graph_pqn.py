"""Arithmetic graphs, PQN from the reward of reaching the goal, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM, EPISODES, NETWORK, config
from pocket_cube_pqn import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        episodes=EPISODES,
        planner=BEAM,
    ),
)
