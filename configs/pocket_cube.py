"""Pocket cube from 14,000 random moves: every one of 1,000 uniformly random cubes solved, almost optimally.

Claim:     a linear encoder and one matrix per action are an exact model of the cube, learned without rewards; a cost
           learned on walks that the model imagines, longer than the recorded ones, leads a narrow beam.
Command:   python train.py configs/pocket_cube.py && python eval.py runs/pocket_cube/seed0
Hardware:  2 CPU cores
Time:      100 s of training, 0.07 s of planning per cube
Expect:    100 % solved at beam 256, 10.7 moves (optimal 10.65), no false claim; above 99 % at beam 64
           (--planner.width 64). How it was tuned: docs/cost.md
"""

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.encoders.linear import LinearEncoder
from jepa.envs.pocket_cube import PocketCube
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NoReidentification
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=PocketCube(),
    behaviour=NonBacktrackingWalks(walk_length=14),
    num_transitions=14_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=LinearEncoder(latent_width=128),
            predictor=OperatorPredictor(),
            prediction=RolloutPrediction(weight=1.0, horizon=2, input_noise=0.1),
            regularizer=SIGReg(weight=0.1),
            reidentification=NoReidentification(),
        ),
        world_model_training=Schedule(num_updates=1500, batch_size=512, learning_rate=3e-3),
        cost=CostLearning(imagination=Imagination(num_walks=512, walk_length=26), states_per_walk=16),
        cost_training=Schedule(num_updates=6000, batch_size=512, learning_rate=3e-3, updates_per_call=40),
        planner=BeamSearch(width=256, horizon=20, fingerprint_bits=32),
    ),
)
