"""Countdown, MuZero's value leading a beam on the model that it learned, instead of its tree search.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_mu_zero import config
from countdown_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
