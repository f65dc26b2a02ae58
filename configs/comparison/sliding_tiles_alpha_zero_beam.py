"""8-puzzle, AlphaZero's value leading a beam on the true dynamics, instead of its tree search.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from sliding_tiles_alpha_zero import config
from sliding_tiles_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
