"""Proofs in groups, evolution strategies, the policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import EPISODES, PROPOSALS, config
from pocket_cube_evolution import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=dataclasses.replace(EPISODES, num_envs=32),
        planner=PROPOSALS,
    ),
)
