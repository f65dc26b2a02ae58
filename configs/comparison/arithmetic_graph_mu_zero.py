"""Arithmetic graphs, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import EPISODES, TREE, config, fewer_samples
from pocket_cube_mu_zero import config as on_the_cube

from jepa.predictors.mlp import MLPPredictor

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        hidden_width=64,  # 9,912 inputs make its representation as large as on other domains.
        dynamics=MLPPredictor(hidden_width=256),
        training=fewer_samples(on_the_cube.agent.training),
        episodes=dataclasses.replace(EPISODES, num_envs=64),
        planner=TREE,
    ),
)
