"""8-puzzle, our method with a cost as wide as other methods' networks, and a predictor that needs few moves.

The dense predictor of configs/sliding_tiles.py learns boards by heart: from 1,000 moves it predicts half of all others
wrong. One that attends from place to place learns from as many what a move does, and takes longer.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses
from pathlib import Path

from jepa.config import load_config
from jepa.costs.euclidean import EuclideanCost
from jepa.encoders.trunks import AttentionTrunk
from jepa.predictors.slot_trunk import TrunkPredictor

config = load_config(Path(__file__).parents[1] / "sliding_tiles.py")
cost = dataclasses.replace(config.agent.cost, head=EuclideanCost(hidden_width=512))
predictor = TrunkPredictor(trunk=AttentionTrunk(width=64, num_blocks=1))
world_model = dataclasses.replace(config.agent.world_model, predictor=predictor)
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, world_model=world_model, cost=cost))
