"""Arithmetic graphs, our world model and cost, searched by the cross-entropy method over action sequences.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import config

from jepa.planners.cross_entropy import CrossEntropySearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=CrossEntropySearch(num_samples=4, num_iterations=2, horizon=24)),
)
