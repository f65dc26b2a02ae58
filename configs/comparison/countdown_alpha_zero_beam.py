"""Countdown, AlphaZero's value leading a beam on the true dynamics, instead of its tree search.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_alpha_zero import config
from countdown_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
