"""Countdown, our method as shipped, and the sizes that all methods have on this domain.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

from pathlib import Path

from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch

config = load_config(Path(__file__).parents[1] / "countdown.py")

# Planners of about as many nodes: 216 nodes of three plies for each, which is what our beam generates.
EPISODES = Episodes(num_envs=128, max_scramble=3, episode_length=3)
BEAM = config.agent.planner
PROPOSALS = ProposalSearch(width=96, horizon=3)
TREE = GumbelTreeSearch(num_simulations=72, horizon=3)
RANDOM = RandomShooting(num_samples=72, horizon=3)
