"""Arithmetic graphs, AlphaZero's value leading a beam on the true dynamics, instead of its tree search.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_alpha_zero import config
from arithmetic_graph_ours import BEAM

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
