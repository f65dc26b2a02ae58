"""Arithmetic graphs, our method as shipped, and the sizes that all methods have on this domain.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

from pathlib import Path

from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch

config = load_config(Path(__file__).parents[1] / "arithmetic_graph.py")

# Planners of about as many nodes: 192 nodes at most; our beam generates 180.
EPISODES = Episodes(num_envs=128, max_scramble=9, episode_length=24)
BEAM = config.agent.planner
PROPOSALS = ProposalSearch(width=8, horizon=24)
TREE = GumbelTreeSearch(num_simulations=8, horizon=24)
RANDOM = RandomShooting(num_samples=8, horizon=24)
