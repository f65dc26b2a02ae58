"""Pocket cube, PQN from the reward of reaching the goal, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.pqn import PQN

config = dataclasses.replace(
    config,
    agent=PQN(planner=BEAM),
)
