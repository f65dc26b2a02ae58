"""8-puzzle, our method with a cost as wide as other methods' networks, and a predictor that needs few moves.

The dense predictor of configs/sliding_tiles.py learns boards by heart: from 1,000 moves it predicts half of all others
wrong. One that attends from place to place learns from as many what a move does, and takes longer.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses
from pathlib import Path

from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.costs.euclidean import EuclideanCost
from jepa.encoders.trunks import AttentionTrunk
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.predictors.slot_trunk import TrunkPredictor

config = load_config(Path(__file__).parents[1] / "sliding_tiles.py")
cost = dataclasses.replace(config.agent.cost, head=EuclideanCost(hidden_width=512))
predictor = TrunkPredictor(trunk=AttentionTrunk(width=64, num_blocks=1))
world_model = dataclasses.replace(config.agent.world_model, predictor=predictor)
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, world_model=world_model, cost=cost))

# Planners of about as many nodes.
EPISODES = Episodes(num_envs=128, max_scramble=60, episode_length=40)
BEAM = BeamSearch(width=64, horizon=40)
PROPOSALS = ProposalSearch(width=128, horizon=40)
TREE = GumbelTreeSearch(num_simulations=64, horizon=40)
RANDOM = RandomShooting(num_samples=75, horizon=40)
