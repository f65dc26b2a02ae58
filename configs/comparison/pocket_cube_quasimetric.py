"""Pocket cube, quasimetric RL, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.quasimetric import QuasimetricRL
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=QuasimetricRL(
        training=Schedule(num_updates=7500, batch_size=512, learning_rate=5e-4),
        planner=BEAM,
    ),
)
