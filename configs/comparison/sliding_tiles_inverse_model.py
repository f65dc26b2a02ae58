"""8-puzzle, inverse-model policy on the latents of our world model, led through a beam in latents.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_inverse_model import config as on_the_cube
from sliding_tiles_ours import PROPOSALS, config

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        world_model=config.agent.world_model,
        world_model_training=config.agent.world_model_training,
        planner=PROPOSALS,
    ),
)
