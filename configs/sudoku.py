"""Sudoku 4x4: fill the board by an uninterrupted rollout in latent space; the solved board is not known in advance.

Claim:     a goal that is a predicate ("nothing is empty") is a goal latent with one closed slot.
Command:   python train.py configs/sudoku.py && python eval.py runs/sudoku/seed0
Hardware:  2 CPU cores
Time:      23 to 41 minutes of training beside other jobs
Expect:    93.3, 94.7, 92.0 % of 150 solved (seeds 0, 1, 2), as with the exact model, no false claim. Random plans solve
           99 % of such small boards with as many nodes, which shows how little the cost knows of dead ends
"""

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import RandomWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.costs.pairwise import PairwiseCost
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.encoders.trunks import AttentionTrunk
from jepa.envs.sudoku import Sudoku
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.legality import LegalityHead
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_trunk import TrunkPredictor
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=Sudoku(box_rows=2, box_columns=2),
    behaviour=RandomWalks(walk_length=10),
    num_transitions=200_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=16),
            predictor=TrunkPredictor(trunk=AttentionTrunk(width=64, num_blocks=1), late_actions=True),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.0),
            regularizer=SIGReg(weight=0.01),
            legality=LegalityHead(hidden_width=256),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=3000, batch_size=256, learning_rate=2e-3),
        cost=CostLearning(
            head=PairwiseCost(hidden_width=128, trunk=AttentionTrunk(width=48, num_blocks=2)),
            imagination=Imagination(num_walks=64, walk_length=10),
            states_per_walk=4,
            max_cost=20.0,
            bellman_start=0.1,
            foreign_goals=True,
        ),
        cost_training=Schedule(num_updates=3000, batch_size=128, learning_rate=1e-3),
        planner=BeamSearch(width=8, horizon=10),
    ),
)
