"""Proofs in the theory of groups: rewrite one term into another by the axioms, on terms of classes never seen.

Claim:     on a tree of slots a rewrite is an affine map of latents, so a proof can be imagined step by step; an actor
           that learned on imagined walks which rewrite leads where finds it, and a checker that shares no code with the
           dynamics accepts it.
Command:   python train.py configs/equational_proofs.py && python eval.py runs/equational_proofs/seed0
           python eval.py runs/equational_proofs/seed0 --env.refutable-fraction 0.5 --num-problems 400
Hardware:  2 CPU cores
Time:      11 to 15 minutes of training on one core beside other jobs
Expect:    all of 300 proved by the fewest rewrites, at 155 nodes, no false claim (seeds 0, 1, 2); of 400 equations,
           half of them false, all answered rightly (seed 0)
"""

from jepa.actors.learning import ActorLearning
from jepa.actors.residual_mlp import ResidualMLPActor
from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import RandomWalks
from jepa.config import Experiment
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.costs.pairwise import PairwiseCost
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.equational_proofs import EquationalProofs
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.proposal_search import ProposalSearch
from jepa.predictors.legality import LegalityHead
from jepa.predictors.operator import OperatorPredictor
from jepa.predictors.reidentification import NearestCode
from jepa.training import Schedule
from jepa.world_model import WorldModel

config = Experiment(
    env=EquationalProofs(theory="groups", max_depth=4),
    behaviour=RandomWalks(walk_length=8),
    num_transitions=400_000,
    agent=LatentPlanner(
        world_model=WorldModel(
            encoder=TokenSlotsEncoder(slot_width=8),
            predictor=OperatorPredictor(use_bias=True),
            prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.1),
            regularizer=SIGReg(weight=0.01),
            legality=LegalityHead(hidden_width=512),
            reidentification=NearestCode(),
        ),
        world_model_training=Schedule(num_updates=3000, batch_size=512, learning_rate=3e-3),
        cost=CostLearning(
            head=PairwiseCost(hidden_width=128),
            imagination=Imagination(num_walks=64, walk_length=8, recorded_start_fraction=0.5),
            states_per_walk=4,
            max_cost=12.0,
            bellman_start=0.2,
        ),
        cost_training=Schedule(num_updates=1000, batch_size=128, learning_rate=1e-3),
        actor=ActorLearning(
            head=ResidualMLPActor(hidden_width=512, num_blocks=1),
            # As many states as the updates of a call take, so that each is learned from once.
            imagination=Imagination(num_walks=1024, walk_length=8, recorded_start_fraction=0.5),
            forward=True,
            origin_fraction=0.0,
            schedule=Schedule(num_updates=4000, batch_size=1024, learning_rate=1e-3, updates_per_call=8),
        ),
        planner=ProposalSearch(width=100, horizon=10),
    ),
)
