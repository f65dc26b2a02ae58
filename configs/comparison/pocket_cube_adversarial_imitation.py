"""Pocket cube, adversarial imitation of optimal plans, its policy led through a beam on the true dynamics.

Command:   python eval.py compare configs/comparison/pocket_cube_*.py
"""

import dataclasses

from pocket_cube_ours import PROPOSALS, config

from jepa.agents.adversarial_imitation import AdversarialImitation

config = dataclasses.replace(
    config,
    agent=AdversarialImitation(planner=PROPOSALS),
)
