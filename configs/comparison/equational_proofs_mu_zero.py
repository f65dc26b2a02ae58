"""Proofs in groups, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import EPISODES, TREE, config
from pocket_cube_mu_zero import config as on_the_cube

from jepa.predictors.mlp import MLPPredictor

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        hidden_width=0,  # As on cube and 8-puzzle latents are linear in the codes: docs/comparison.md, Tuning.
        dynamics=MLPPredictor(hidden_width=512),
        masks_imagined=False,
        episodes=dataclasses.replace(EPISODES, num_envs=64),
        planner=TREE,
    ),
)
