"""8-puzzle, regression of walk lengths, searched by a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_walk_length import config as on_the_cube
from sliding_tiles_ours import BEAM, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=BEAM,
    ),
)
