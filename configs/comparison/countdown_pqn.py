"""Countdown, PQN from the reward of reaching the goal, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_ours import BEAM, EPISODES, config
from pocket_cube_pqn import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=EPISODES,
        planner=BEAM,
    ),
)
