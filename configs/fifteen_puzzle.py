"""15-puzzle from random moves, graded on the published problems of DeepCubeA.

Claim:     the recipe of the 8-puzzle carries over to 10^13 states, of which training sees a vanishing part, once an
           actor proposes what to predict.
Command:   python train.py configs/fifteen_puzzle.py && python eval.py runs/fifteen_puzzle/seed0 --problems puzzle15.npz
Hardware:  2 CPU cores
Time:      32 minutes of training beside other jobs
Expect:    all of the first 250 problems solved at 6,534 to 6,603 nodes, 55.2, 54.6, 54.8 moves (optimal
           51.6), no false claim (seeds 0, 1, 2)
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
from jepa.encoders.trunks import AttentionTrunk
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.proposal_search import ProposalSearch
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_trunk import TrunkPredictor
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=SlidingTiles(rows=4, columns=4),
    behaviour=NonBacktrackingWalks(walk_length=1000),
    num_transitions=400_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=16),
            predictor=TrunkPredictor(trunk=AttentionTrunk(width=64, num_blocks=2)),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.0),
            regularizer=SIGReg(weight=0.01),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=1000, batch_size=256, learning_rate=2e-3),
        cost=CostLearning(
            head=EuclideanCost(hidden_width=512, embedding_width=64),
            imagination=Imagination(num_walks=48, walk_length=160, recorded_start_fraction=0.5),
            states_per_walk=16,
            max_cost=80.0,
            bellman_start=0.1,
        ),
        cost_training=Schedule(num_updates=500, batch_size=512, learning_rate=2e-3),
        actor=ActorLearning(
            head=ResidualMLPActor(hidden_width=512, num_blocks=1),
            imagination=Imagination(num_walks=512, walk_length=80),
            origin_fraction=1.0,
            schedule=Schedule(num_updates=15000, batch_size=1024, learning_rate=2e-3, updates_per_call=100),
        ),
        planner=ProposalSearch(width=128, horizon=100),
    ),
)
