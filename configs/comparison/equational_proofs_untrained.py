"""Proofs in groups, a policy of random weights led through a beam: what that search solves by itself.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import PROPOSALS, config
from pocket_cube_untrained import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        planner=PROPOSALS,
    ),
)
