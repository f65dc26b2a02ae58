"""Plan in latent space: JEPA-style world models for reasoning, in JAX.

Read in this order: `world_model.py`, `costs/`, `planners/beam_search.py`, `training.py`, `evaluation.py`.
Import from the file that defines a thing; nothing is re-exported here, so `import jepa` is instant.
"""

__version__ = "0.1.0"
