"""8-puzzle, our world model and cost, searched by the tree of MuZero (mctx) instead of a beam.

Like for like with AlphaZero and MuZero: the same search with as many simulations, on a frozen model without rewards.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from sliding_tiles_ours import TREE, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=TREE),
)
