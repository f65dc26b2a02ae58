"""8-puzzle, expert iteration, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_expert_iteration import config as on_the_cube
from sliding_tiles_ours import EPISODES, PROPOSALS, config

from jepa.planners.proposal_search import ProposalSearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=EPISODES,
        practice=ProposalSearch(width=16, horizon=40),
        planner=PROPOSALS,
    ),
)
