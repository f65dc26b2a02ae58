"""Arithmetic graphs, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import RANDOM, config
from pocket_cube_random import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=RANDOM,
    ),
)
