"""Pocket cube, MuZero's value leading a beam on the true dynamics, not a tree on those that it learned.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_mu_zero import config
from pocket_cube_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM, given_dynamics=True),
)
