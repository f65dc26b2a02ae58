"""Proofs in groups, random plans on the true dynamics: the floor.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import RANDOM, config
from pocket_cube_random import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=RANDOM,
    ),
)
