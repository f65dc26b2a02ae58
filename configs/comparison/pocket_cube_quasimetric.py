"""Pocket cube, quasimetric RL, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.quasimetric import QuasimetricRL
from jepa.planners.beam_search import BeamSearch
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=QuasimetricRL(
        training=Schedule(num_updates=7500, batch_size=512, learning_rate=5e-4),
        planner=BeamSearch(width=256, horizon=20),
    ),
)
