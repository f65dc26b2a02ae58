"""Pocket cube, walk-length regression with a beam on the true dynamics (CayleyPy).

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.walk_length import WalkLengthRegression
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=WalkLengthRegression(
        training=Schedule(num_updates=3750, batch_size=1024, learning_rate=1e-3),
        planner=BEAM,
    ),
)
