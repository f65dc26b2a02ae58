"""Rubik's cube 3x3x3 from random moves, graded on the published problems of DeepCubeA.

Claim:     one latent per cubie and one matrix per turn are an exact model of 4.3 x 10^19 states.
Command:   python train.py configs/rubiks_cube.py && python eval.py runs/rubiks_cube/seed0 --problems cube3.npz
Expect:    every problem, by 33 to 35 moves at about 20,000 nodes (seeds 0, 1, 2); 31 minutes of training on two cores
"""

from jepa.actors.learning import ActorLearning
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.rubiks_cube import RubiksCube
from jepa.objectives.code_separation import CodeSeparation
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.proposal_search import ProposalSearch
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NearestCode
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=RubiksCube(),
    behaviour=NonBacktrackingWalks(walk_length=20),
    num_transitions=100_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=28),
            predictor=OperatorPredictor(),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.3),
            regularizer=SIGReg(weight=0.01),
            # With opposite codes the 24 tokens would span 12 to 18 directions, and the actor could not tell them apart.
            code_separation=CodeSeparation(orthogonality=1.0),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=1000, batch_size=512, learning_rate=3e-3),
        cost=CostLearning(
            head=EuclideanCost(hidden_width=512, num_blocks=2, embedding_width=128),
            imagination=Imagination(num_walks=160, walk_length=26),
            states_per_walk=16,
        ),
        cost_training=Schedule(num_updates=200, batch_size=512, learning_rate=2e-3),
        actor=ActorLearning(
            head=ResidualMLPActor(hidden_width=1024, num_blocks=1),
            imagination=Imagination(num_walks=2048, walk_length=26),
            origin_fraction=1.0,
            schedule=Schedule(num_updates=8000, batch_size=1024, learning_rate=1e-3),
        ),
        planner=ProposalSearch(width=600, horizon=60),
    ),
)
