"""Pocket cube, our world model and cost as shipped, searched by the tree of MuZero (mctx) instead of a beam.

Like for like with AlphaZero and MuZero: the same search with as many simulations, on a frozen model without rewards.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import TREE, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=TREE),
)
