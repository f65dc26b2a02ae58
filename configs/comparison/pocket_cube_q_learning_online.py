"""Pocket cube, deep Q-learning with hindsight replay from its own moves, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.q_learning_online import OnlineQLearning
from jepa.planners.beam_search import BeamSearch

config = dataclasses.replace(
    config,
    agent=OnlineQLearning(planner=BeamSearch(width=256, horizon=20)),
)
