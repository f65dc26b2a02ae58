"""Proofs in Boolean algebra, everything else as for groups.

Claim:     the same latent search proves theorems of another theory; nothing but the rules is exchanged.
Command:   python train.py configs/boolean_algebra.py && python eval.py runs/boolean_algebra/seed0
Expect:    97.3, 95.3, 95.0 % of 300 proved at 289 to 300 nodes, no false claim (seeds 0, 1, 2); of 400 equations,
           half of them false, 98 % answered rightly (seed 0); 16 to 27 minutes of training on one core
"""

import dataclasses

from equational_proofs import config

from jepa.envs.equational_proofs import EquationalProofs

config = dataclasses.replace(config, env=EquationalProofs(theory="boolean_algebra"))
