"""Pocket cube, our method with a cost as wide as the networks of all other methods; otherwise as shipped.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses
from pathlib import Path

from jepa.config import load_config
from jepa.costs.euclidean import EuclideanCost

config = load_config(Path(__file__).parents[1] / "pocket_cube.py")
cost = dataclasses.replace(config.agent.cost, head=EuclideanCost(hidden_width=512))
config = dataclasses.replace(config, agent=dataclasses.replace(config.agent, cost=cost))
