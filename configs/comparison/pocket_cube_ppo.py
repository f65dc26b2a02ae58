"""Pocket cube, PPO from the reward of reaching the goal, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.ppo import PPO

config = dataclasses.replace(
    config,
    agent=PPO(planner=PROPOSALS),
)
