"""8-puzzle, evolution strategies, the policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_evolution import config as on_the_cube
from sliding_tiles_ours import PROPOSALS, config

from jepa.agents.episodes import Episodes

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=Episodes(num_envs=32, max_scramble=60, episode_length=40),
        planner=PROPOSALS,
    ),
)
