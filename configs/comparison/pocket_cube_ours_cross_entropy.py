"""Pocket cube, our world model and cost as shipped, searched by the cross-entropy method over action sequences.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.planners.cross_entropy import CrossEntropySearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=CrossEntropySearch(num_samples=64, num_iterations=8, horizon=20)),
)
