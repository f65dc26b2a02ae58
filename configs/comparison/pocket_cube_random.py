"""Pocket cube, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.random_plans import RandomPlans
from jepa.planners.random_shooting import RandomShooting

config = dataclasses.replace(
    config,
    agent=RandomPlans(planner=RandomShooting(num_samples=560, horizon=20)),
)
