"""Pocket cube, our method with a cost as wide as the networks of all other methods.

A cost that wide learns to read the time off the drift of imagined walks (it raises `alarm_drift`) where the narrow one
of configs/pocket_cube.py does not; so every prediction is read out and encoded again, and nothing drifts.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses
from pathlib import Path

from jepa.config import load_config
from jepa.costs.euclidean import EuclideanCost
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.predictors.reidentification import ReencodedReadout

config = load_config(Path(__file__).parents[1] / "pocket_cube.py")
cost = dataclasses.replace(config.agent.cost, head=EuclideanCost(hidden_width=512))
world_model = dataclasses.replace(config.agent.world_model, reidentification=ReencodedReadout())
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, world_model=world_model, cost=cost))

# Planners of about as many nodes.
BEAM = BeamSearch(width=256, horizon=20)
PROPOSALS = ProposalSearch(width=1024, horizon=20)
TREE = GumbelTreeSearch(num_simulations=512)
RANDOM = RandomShooting(num_samples=560, horizon=20)
