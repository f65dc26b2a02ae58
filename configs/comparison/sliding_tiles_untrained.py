"""8-puzzle, a policy of random weights led through a beam: what that search solves by itself.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_untrained import config as on_the_cube
from sliding_tiles_ours import PROPOSALS, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=PROPOSALS,
    ),
)
