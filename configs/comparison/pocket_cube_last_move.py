"""Pocket cube, last-move policy with a beam on the true dynamics (EfficientCube).

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.last_move import LastMovePolicy
from jepa.planners.proposal_search import ProposalSearch

config = dataclasses.replace(
    config,
    agent=LastMovePolicy(planner=ProposalSearch(width=256, horizon=20)),
)
