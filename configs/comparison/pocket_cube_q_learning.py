"""Pocket cube, offline deep Q-learning with hindsight goals, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.q_learning import QLearning
from jepa.planners.beam_search import BeamSearch

config = dataclasses.replace(
    config,
    agent=QLearning(planner=BeamSearch(width=256, horizon=20)),
)
