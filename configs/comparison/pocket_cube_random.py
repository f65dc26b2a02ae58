"""Pocket cube, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import RANDOM, config

from jepa.agents.random_plans import RandomPlans

config = dataclasses.replace(
    config,
    agent=RandomPlans(planner=RANDOM),
)
