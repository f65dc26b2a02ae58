"""Sokoban 7x7 with two boxes, on wall layouts never seen in training.

Claim:     goals that leave the player free are goal latents with open slots; dead ends are learned as the largest cost.
Command:   python train.py configs/sokoban.py && python eval.py runs/sokoban/seed0
Hardware:  2 CPU cores
Time:      22 minutes of training on one core, 0.2 s of planning per problem
Expect:    96, 96, 92 % of 200 solved at 534 to 634 nodes (seeds 0, 1, 2; 13.8 to 14.5 moves, 12.4 at best), no
           false claim
"""

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.costs.pairwise import PairwiseCost
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.encoders.trunks import ConvolutionTrunk
from jepa.envs.sokoban import Sokoban
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.best_first import BestFirstSearch
from jepa.predictors.legality import TrunkLegality
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_trunk import TrunkPredictor
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=Sokoban(size=7, num_boxes=2),
    behaviour=NonBacktrackingWalks(walk_length=64),
    num_transitions=512_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=8),
            # A push moves three cells in a line, wherever it happens: two blocks see that far.
            predictor=TrunkPredictor(trunk=ConvolutionTrunk(rows=7, width=48, num_blocks=2), late_actions=True),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.0),
            regularizer=SIGReg(weight=0.01),
            legality=TrunkLegality(trunk=ConvolutionTrunk(rows=7, width=16, num_blocks=2)),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=6000, batch_size=256, learning_rate=3e-3),
        cost=CostLearning(
            head=PairwiseCost(hidden_width=256, num_blocks=2),
            imagination=Imagination(num_walks=96, walk_length=40, recorded_start_fraction=0.5),
            states_per_walk=8,
            max_cost=50.0,
            bellman_start=0.1,
        ),
        cost_training=Schedule(num_updates=3000, batch_size=256, learning_rate=1e-3),
        planner=BestFirstSearch(num_nodes=2000, num_expansions=8, path_weight=0.25, horizon=40),
    ),
)
