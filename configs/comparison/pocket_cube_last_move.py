"""Pocket cube, last-move policy with a beam on the true dynamics (EfficientCube).

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.last_move import LastMovePolicy
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=LastMovePolicy(
        training=Schedule(num_updates=3750, batch_size=1024, learning_rate=1e-3),
        planner=PROPOSALS,
    ),
)
