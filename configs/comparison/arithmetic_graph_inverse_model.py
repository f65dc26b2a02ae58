"""Arithmetic graphs, inverse-model policy on the frozen latents of our world model, led through a beam.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import NETWORK, PROPOSALS, config, fewer_samples
from pocket_cube_inverse_model import config as on_the_cube

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        head=NETWORK,
        policy_training=fewer_samples(on_the_cube.agent.policy_training),
        world_model=config.agent.world_model,
        world_model_training=config.agent.world_model_training,
        planner=PROPOSALS,
    ),
)
