"""Arithmetic graphs, goal-conditioned implicit Q-learning, led by its value through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM, config
from pocket_cube_gciql import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=BEAM,
    ),
)
