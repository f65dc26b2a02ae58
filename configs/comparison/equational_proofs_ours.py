"""Proofs in groups, our method as shipped, and the sizes that all methods have on this domain.

Command:   python eval.py compare configs/comparison/equational_proofs_*.py
"""

from pathlib import Path

from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.planners.beam_search import BeamSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch

config = load_config(Path(__file__).parents[1] / "equational_proofs.py")

# Planners of about as many nodes: 1,000 nodes where a search does not arrive.
EPISODES = Episodes(num_envs=128, max_scramble=8, episode_length=10)
BEAM = BeamSearch(width=12, horizon=10)
PROPOSALS = config.agent.planner
TREE = GumbelTreeSearch(num_simulations=100, horizon=10)
RANDOM = RandomShooting(num_samples=100, horizon=10)
