"""Arithmetic graphs, contrastive distances with in-walk negatives (CRTR), beam on the true dynamics.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import BEAM, config, fewer_samples
from pocket_cube_contrastive import config as on_the_cube

from jepa.costs.euclidean import EuclideanCost

config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        head=EuclideanCost(hidden_width=64, embedding_width=64),  # 9,912 inputs make it as large as on other domains.
        training=fewer_samples(on_the_cube.agent.training),
        planner=BEAM,
    ),
)
