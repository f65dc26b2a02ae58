"""8-puzzle, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_random import config as on_the_cube
from sliding_tiles_ours import config

from jepa.planners.random_shooting import RandomShooting

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=RandomShooting(num_samples=75, horizon=40),
    ),
)
