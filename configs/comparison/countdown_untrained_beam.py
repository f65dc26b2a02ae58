"""Countdown, a value of random weights leading a beam on the true dynamics: what that search solves by itself.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_ours import BEAM
from countdown_untrained import config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
