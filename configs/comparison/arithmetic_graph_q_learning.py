"""Arithmetic graphs, offline deep Q-learning with hindsight goals, beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM, config
from pocket_cube_q_learning import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=BEAM,
    ),
)
