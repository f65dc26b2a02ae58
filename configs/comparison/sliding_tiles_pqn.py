"""8-puzzle, PQN from the reward of reaching the goal, its values searched by a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_pqn import config as on_the_cube
from sliding_tiles_ours import BEAM, EPISODES, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=EPISODES,
        planner=BEAM,
    ),
)
