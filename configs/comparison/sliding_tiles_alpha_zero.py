"""8-puzzle, AlphaZero with Gumbel tree search on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_alpha_zero import config as on_the_cube
from sliding_tiles_ours import TREE, config

from jepa.agents.episodes import Episodes

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=Episodes(num_envs=64, max_scramble=60, episode_length=40),
        planner=TREE,
    ),
)
