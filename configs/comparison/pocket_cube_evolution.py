"""Pocket cube, evolution strategies, the policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.evolution import EvolutionStrategies
from jepa.planners.proposal_search import ProposalSearch

config = dataclasses.replace(
    config,
    agent=EvolutionStrategies(planner=ProposalSearch(width=1024, horizon=20)),
)
