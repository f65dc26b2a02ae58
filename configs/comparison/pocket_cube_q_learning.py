"""Pocket cube, offline deep Q-learning with hindsight goals, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.q_learning import QLearning
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=QLearning(
        training=Schedule(num_updates=7500, batch_size=512, learning_rate=5e-4),
        planner=BEAM,
    ),
)
