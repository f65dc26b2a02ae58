"""Pocket cube, AlphaZero with Gumbel tree search on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import TREE, config

from jepa.agents.alpha_zero import AlphaZero

config = dataclasses.replace(
    config,
    agent=AlphaZero(planner=TREE),
)
