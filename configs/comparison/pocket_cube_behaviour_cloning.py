"""Pocket cube, goal-conditioned behaviour cloning, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.behaviour_cloning import BehaviourCloning
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=BehaviourCloning(
        training=Schedule(num_updates=3750, batch_size=1024, learning_rate=3e-4),
        planner=PROPOSALS,
    ),
)
