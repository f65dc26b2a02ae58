"""Pocket cube, inverse-model policy on the frozen latents of our world model, led through a beam on imagined latents.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import config

from jepa.agents.inverse_model import InverseModelPolicy
from jepa.planners.proposal_search import ProposalSearch
from jepa.training import Schedule

config = dataclasses.replace(
    config,
    agent=InverseModelPolicy(
        world_model=config.agent.world_model,
        world_model_training=config.agent.world_model_training,
        policy_training=Schedule(num_updates=3000, batch_size=1024, learning_rate=3e-4),
        planner=ProposalSearch(width=1024, horizon=20, fingerprint_bits=32),
    ),
)
