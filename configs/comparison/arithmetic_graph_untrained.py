"""Arithmetic graphs, a policy of random weights led through a beam: what that search solves by itself.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import NETWORK, PROPOSALS, config
from pocket_cube_untrained import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        planner=PROPOSALS,
    ),
)
