"""Arithmetic graphs, a value of random weights leading a beam on the true dynamics: what that search solves by itself.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM
from arithmetic_graph_untrained import config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=BEAM),
)
