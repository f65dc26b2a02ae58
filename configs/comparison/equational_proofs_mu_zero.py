"""Proofs in groups, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import EPISODES, TREE, config
from pocket_cube_mu_zero import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=dataclasses.replace(EPISODES, num_envs=64),
        planner=TREE,
    ),
)
