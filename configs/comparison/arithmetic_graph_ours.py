"""Arithmetic graphs, our method as shipped, and the sizes that all methods have on this domain.

Command:   python eval.py compare configs/comparison/arithmetic_graph_*.py
"""

import dataclasses
from pathlib import Path

from jepa.actors.slot_trunk import TrunkActor
from jepa.agents.episodes import Episodes
from jepa.config import load_config
from jepa.encoders.trunks import AttentionTrunk
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.random_shooting import RandomShooting
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.training import Schedule

config = load_config(Path(__file__).parents[1] / "arithmetic_graph.py")

# A perceptron over 168 tokens of 59 kinds would have ten million parameters and still not look a parent up. Policies
# and values are attention over quantities instead, as our legality is, and take as many samples as ours in all stages.
NETWORK = TrunkActor(trunk=AttentionTrunk(width=64, num_blocks=1, slots_per_group=6))
SAMPLES = 691_200

# Planners of about as many nodes: 192 nodes at most; our beam generates 180. What a plan turns out not to need is taken
# back in all of them that can.
EPISODES = Episodes(num_envs=128, max_scramble=9, episode_length=24)
BEAM = config.agent.planner
PROPOSALS = ProposalSearch(width=8, horizon=24, fingerprint_bits=256, shorten_plans=True)
TREE = GumbelTreeSearch(num_simulations=8, horizon=24)
RANDOM = RandomShooting(num_samples=8, horizon=24)


def fewer_samples(schedule: Schedule) -> Schedule:
    """Returns a schedule with the samples of this domain, of a method that learns from recorded or kept moves."""
    per_call = schedule.batch_size * schedule.updates_per_call
    return dataclasses.replace(schedule, num_updates=SAMPLES // per_call * schedule.updates_per_call)
