"""Pocket cube, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import TREE, config

from jepa.agents.mu_zero import MuZero
from jepa.predictors.operator import OperatorPredictor

config = dataclasses.replace(
    config,
    agent=MuZero(
        hidden_width=0,  # Latents are linear in the codes, and moves are matrices: docs/comparison.md, Tuning.
        dynamics=OperatorPredictor(),
        planner=TREE,
        replans=True,
        consistency_weight=2.0,
    ),
)
