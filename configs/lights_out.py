"""Lights Out 5x5 from random moves.

Claim:     the presses that solve a board are parities of its lights, which small networks learn badly; an actor that
           is right near the goal and a wide beam solve what a cost alone does not.
Command:   python train.py configs/lights_out.py && python eval.py runs/lights_out/seed0
Hardware:  2 CPU cores
Time:      10 minutes of training beside other jobs
Expect:    1,000 of 1,000 solved in 9.91 moves (optimal 9.85, 97.7 % of the plans optimal) at 64,725 nodes; 100 of
           100 with seeds 1 and 2 (9.81 moves, optimal 9.73)
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
from jepa.envs.lights_out import LightsOut
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.proposal_search import ProposalSearch
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NearestCode
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=LightsOut(size=5),
    behaviour=NonBacktrackingWalks(walk_length=20),
    num_transitions=40_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=4),
            predictor=OperatorPredictor(),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.3),
            regularizer=SIGReg(weight=0.01),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=500, batch_size=512, learning_rate=3e-3),
        cost=CostLearning(
            head=EuclideanCost(hidden_width=512, num_blocks=2, embedding_width=64),
            imagination=Imagination(num_walks=128, walk_length=20),
            states_per_walk=16,
        ),
        cost_training=Schedule(num_updates=500, batch_size=512, learning_rate=2e-3),
        actor=ActorLearning(
            head=ResidualMLPActor(hidden_width=512, num_blocks=1),
            imagination=Imagination(num_walks=1024, walk_length=16),
            origin_fraction=1.0,
            schedule=Schedule(num_updates=8000, batch_size=1024, learning_rate=1e-3),
        ),
        planner=ProposalSearch(width=2048, horizon=20, oversampling=4.0),
    ),
)
