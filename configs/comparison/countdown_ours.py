"""Countdown, our method with a cost as wide as other methods' networks, and the sizes that all have on this domain.

Command:   python eval.py compare configs/comparison/countdown_*.py
"""

import dataclasses
from pathlib import Path

from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.costs.pairwise import PairwiseCost
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule

config = load_config(Path(__file__).parents[1] / "countdown.py")
config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        config.agent,
        # Arithmetic is what takes long, so most of the 3.8 million gradient samples that all methods take are for it.
        # The weight decay is what keeps 14,000 moves from being learned by heart; 100,000 do without.
        world_model_training=Schedule(num_updates=14_000, batch_size=256, learning_rate=2e-3, weight_decay=0.3),
        cost=dataclasses.replace(config.agent.cost, head=PairwiseCost(hidden_width=512)),
        cost_training=Schedule(num_updates=1000, batch_size=256, learning_rate=2e-3),
    ),
)

# Planners of about as many nodes: 216 nodes of three plies for each, which is what our beam generates.
EPISODES = Episodes(num_envs=128, max_scramble=3, episode_length=3)
BEAM = config.agent.planner
PROPOSALS = ProposalSearch(width=96, horizon=3)
TREE = GumbelTreeSearch(num_simulations=72, horizon=3)
RANDOM = RandomShooting(num_samples=72, horizon=3)
