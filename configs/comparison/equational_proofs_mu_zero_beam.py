"""Proofs in groups, MuZero's value leading a beam on the model that it learned, instead of its tree search.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_mu_zero import config
from equational_proofs_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
