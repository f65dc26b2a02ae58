"""Pocket cube, walk-length regression with a beam on the true dynamics (CayleyPy).

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.walk_length import WalkLengthRegression
from jepa.planners.beam_search import BeamSearch

config = dataclasses.replace(
    config,
    agent=WalkLengthRegression(planner=BeamSearch(width=256, horizon=20)),
)
