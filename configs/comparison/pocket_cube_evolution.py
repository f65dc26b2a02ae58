"""Pocket cube, evolution strategies, the policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.evolution import EvolutionStrategies

config = dataclasses.replace(
    config,
    agent=EvolutionStrategies(planner=PROPOSALS),
)
