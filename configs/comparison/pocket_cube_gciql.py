"""Pocket cube, goal-conditioned implicit Q-learning, led by its value through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.gciql import GCIQL
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=GCIQL(
        training=Schedule(num_updates=3750, batch_size=1024, learning_rate=3e-4),
        planner=BEAM,
    ),
)
