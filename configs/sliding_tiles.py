"""8-puzzle from 60,000 random moves: every one of 1,000 random boards solved by latents alone, almost optimally.

Claim:     one latent per token, re-identified after every prediction, closes the model gap: the search does as well on
           the learned model as on the exact one.
Command:   python train.py configs/sliding_tiles.py && python eval.py runs/sliding_tiles/seed0
Hardware:  2 CPU cores
Time:      3 minutes of training beside other jobs, 0.05 s of planning per board
Expect:    100 % solved at beam 64 and at beam 16, 22.1 moves (optimal 22.04), no false claim. What else was tried:
           docs/model_gap.md
"""

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=SlidingTiles(rows=3, columns=3),
    behaviour=NonBacktrackingWalks(walk_length=60),
    num_transitions=60_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=16),
            predictor=SlotMixerPredictor(width=64),
            prediction=RolloutPrediction(weight=10.0, horizon=2, input_noise=0.3),
            regularizer=SIGReg(weight=0.01),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=800, batch_size=512, learning_rate=2e-3),
        cost=CostLearning(
            imagination=Imagination(num_walks=128, walk_length=100, recorded_start_fraction=0.5),
            states_per_walk=16,
            bellman_start=0.1,
        ),
        cost_training=Schedule(num_updates=4000, batch_size=512, learning_rate=2e-3),
        planner=BeamSearch(width=64, horizon=40),
    ),
)
