"""8-puzzle, a value of random weights leading a beam on the true dynamics: what that search solves by itself.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from sliding_tiles_ours import BEAM
from sliding_tiles_untrained import config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
