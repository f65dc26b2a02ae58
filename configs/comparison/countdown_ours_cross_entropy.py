"""Countdown, our world model and cost, searched by the cross-entropy method over action sequences.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses

from countdown_ours import config

from jepa.planners.cross_entropy import CrossEntropySearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(config.agent, planner=CrossEntropySearch(num_samples=18, num_iterations=4, horizon=3)),
)
