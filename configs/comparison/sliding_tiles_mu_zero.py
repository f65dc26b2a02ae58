"""8-puzzle, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_mu_zero import config as on_the_cube
from sliding_tiles_ours import TREE, config

from jepa.agents.episodes import Episodes
from jepa.predictors.mlp import MLPPredictor

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        dynamics=MLPPredictor(hidden_width=512),
        episodes=Episodes(num_envs=64, max_scramble=60, episode_length=40),
        planner=TREE,
    ),
)
