"""Pocket cube, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.mu_zero import MuZero
from jepa.planners.tree_search import GumbelTreeSearch

config = dataclasses.replace(
    config,
    agent=MuZero(planner=GumbelTreeSearch(num_simulations=512), replans=True),
)
