"""Countdown, MuZero's value leading a beam on the true dynamics, not a tree on those that it learned.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_mu_zero import config
from countdown_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM, given_dynamics=True),
)
