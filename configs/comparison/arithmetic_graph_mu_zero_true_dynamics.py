"""Arithmetic graphs, MuZero's value leading a beam on the true dynamics, not a tree on those that it learned.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_mu_zero import config
from arithmetic_graph_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM, given_dynamics=True),
)
