"""Pocket cube, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import TREE, config

from jepa.agents.mu_zero import MuZero

config = dataclasses.replace(
    config,
    agent=MuZero(planner=TREE, replans=True, consistency_weight=2.0),
)
