"""Arithmetic graphs, MuZero with Gumbel tree search on the model that it learns, looking again after every move.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses

from arithmetic_graph_ours import EPISODES, NETWORK, SAMPLES, TREE, config
from pocket_cube_mu_zero import config as on_the_cube

from jepa.planners.tree_search import GumbelTreeSearch

WORLD_MODEL = config.agent.world_model
BATCH = on_the_cube.agent.training.batch_size
# Each of its samples is a state and those after five moves, and all its networks look at each of them.
STATES_PER_SAMPLE = 1 + on_the_cube.agent.num_unrolled

# A slot for every token and attention over quantities, as all others have: from one flat latent it could not even be
# read what can be derived where a problem begins.
config = dataclasses.replace(
    config,
    agent=dataclasses.replace(
        on_the_cube.agent,
        network=NETWORK,
        dynamics=WORLD_MODEL.predictor,
        legality=WORLD_MODEL.legality,
        token_slots=True,
        masks_imagined=False,
        # From unrolled latents alone it was not learned in 100,000 moves; so it is with seed 3, with seed 0 too late.
        legality_of_states=True,
        latent_width=WORLD_MODEL.encoder.slot_width,
        hidden_width=0,
        samples_per_step=64,
        steps_per_round=16,
        # The learning rate of our world model: with a third of it legality was not learned in a third of the moves.
        training=dataclasses.replace(
            on_the_cube.agent.training, num_updates=SAMPLES // (STATES_PER_SAMPLE * BATCH), learning_rate=3e-3
        ),
        practice=GumbelTreeSearch(num_simulations=TREE.num_simulations, gumbel_scale=1.0),
        episodes=dataclasses.replace(EPISODES, num_envs=64),
        planner=TREE,
    ),
)
