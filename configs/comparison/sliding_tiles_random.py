"""8-puzzle, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_random import config as on_the_cube
from sliding_tiles_ours import RANDOM, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=RANDOM,
    ),
)
