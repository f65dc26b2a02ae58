"""Proofs in groups, a value of random weights leading a beam on the true dynamics: what that search solves by itself.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

import dataclasses

from equational_proofs_ours import BEAM
from equational_proofs_untrained import config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
