"""Gymnasium's Taxi: drive to the passenger, pick up, drive to the destination, drop, from 60,000 random moves.

Claim:     an environment of Gymnasium is a domain without code of its own; nothing is learned from its rewards.
Command:   pip install -e ".[gymnasium]" && python train.py configs/taxi.py && python eval.py runs/taxi/seed0
Hardware:  2 CPU cores
Time:      2 to 3 minutes of training beside other jobs, 0.01 s of planning per problem
Expect:    100 % of 1,000 solved at beam 16, 10.97 actions (the optimum), no false claim (one seed); 84 % at beam 4,
           with the exact model too. From 20,000 moves 94 %: all failures are passengers from green to red.
"""

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import RandomWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.costs.pairwise import PairwiseCost
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.gymnasium_adapter import GymnasiumTable
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.legality import LegalityHead
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=GymnasiumTable(env_id="Taxi-v4"),
    behaviour=RandomWalks(walk_length=50),
    num_transitions=60_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=16),
            predictor=SlotMixerPredictor(width=64),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.0),
            regularizer=SIGReg(weight=0.01),
            legality=LegalityHead(hidden_width=64),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=800, batch_size=512, learning_rate=2e-3),
        cost=CostLearning(
            head=PairwiseCost(hidden_width=128),
            imagination=Imagination(num_walks=128, walk_length=40, recorded_start_fraction=0.5),
            states_per_walk=8,
            max_cost=30.0,
            bellman_start=0.1,
        ),
        cost_training=Schedule(num_updates=2000, batch_size=256, learning_rate=2e-3),
        planner=BeamSearch(width=16, horizon=20),
    ),
)
