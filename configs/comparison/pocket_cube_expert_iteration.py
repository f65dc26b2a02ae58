"""Pocket cube, expert iteration, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.expert_iteration import ExpertIteration

config = dataclasses.replace(
    config,
    agent=ExpertIteration(planner=PROPOSALS),
)
