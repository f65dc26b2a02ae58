"""Pocket cube, contrastive distances with in-walk negatives (CRTR), beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.contrastive import ContrastiveDistance
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=ContrastiveDistance(
        training=Schedule(num_updates=7500, batch_size=512, learning_rate=3e-4),
        planner=BEAM,
    ),
)
