"""Pocket cube, deep Q-learning with hindsight replay from its own moves, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM, config

from jepa.agents.q_learning_online import OnlineQLearning

config = dataclasses.replace(
    config,
    agent=OnlineQLearning(planner=BEAM),
)
