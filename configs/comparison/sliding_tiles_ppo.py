"""8-puzzle, PPO from the reward of reaching the goal, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_ppo import config as on_the_cube
from sliding_tiles_ours import EPISODES, PROPOSALS, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=EPISODES,
        planner=PROPOSALS,
    ),
)
