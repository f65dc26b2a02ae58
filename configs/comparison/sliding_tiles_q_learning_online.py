"""8-puzzle, DQN with hindsight replay, searched by a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/sliding_tiles_*.py
"""

import dataclasses

from pocket_cube_q_learning_online import config as on_the_cube
from sliding_tiles_ours import config

from jepa.agents.episodes import Episodes
from jepa.planners.beam_search import BeamSearch

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        episodes=Episodes(num_envs=128, max_scramble=60, episode_length=40),
        planner=BeamSearch(width=64, horizon=40),
    ),
)
