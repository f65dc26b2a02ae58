"""Pocket cube, a value of random weights leading a beam on the true dynamics: what that search solves by itself.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import BEAM
from pocket_cube_untrained import config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
