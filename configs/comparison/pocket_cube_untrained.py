"""Pocket cube, a policy of random weights led through a beam: what that search solves by itself.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.untrained import UntrainedNetworks

config = dataclasses.replace(
    config,
    agent=UntrainedNetworks(planner=PROPOSALS),
)
