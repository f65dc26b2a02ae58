"""Pocket cube, AlphaZero's value leading a beam on the true dynamics, instead of its tree search.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_alpha_zero import config

from jepa.planners.beam_search import BeamSearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BeamSearch(width=256, horizon=20)),
)
