"""Proofs in Boolean algebra, everything else as for groups.

Claim:     the same latent search proves theorems of another theory; nothing but the rules is exchanged.
Command:   python train.py configs/boolean_algebra.py && python eval.py runs/boolean_algebra/seed0
Expect:    not measured yet
"""

import dataclasses

from equational_proofs import config

from jepa.envs.equational_proofs import EquationalProofs

config = dataclasses.replace(config, env=EquationalProofs(theory="boolean_algebra"))
