"""Pocket cube, AlphaZero's value leading a beam on the true dynamics, instead of its tree search.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_alpha_zero import config
from pocket_cube_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
