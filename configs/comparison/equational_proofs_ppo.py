"""Proofs in groups, PPO from the reward of reaching the goal, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import EPISODES, PROPOSALS, config
from pocket_cube_ppo import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=EPISODES,
        planner=PROPOSALS,
    ),
)
