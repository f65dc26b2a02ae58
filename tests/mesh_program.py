"""Trains and plans on four devices and on one of them; prints what came out as JSON. Run by `test_mesh.py`."""

import itertools
import json
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.dataset import collect_walks
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, load_problems, solve
from jepa.mesh import data_mesh, shard_batch
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.training import Schedule, sample_windows
from jepa.types import Trajectories
from jepa.world_model import WorldModel

ENV = SlidingTiles(rows=2, columns=3)
NUM_COMPARED = 5
"""Calls of a stage whose losses are compared; rounding differences grow with every update."""
WORLD_MODEL = WorldModel(
    encoder=TokenSlotsEncoder(slot_width=8),
    predictor=SlotMixerPredictor(width=64),
    prediction=RolloutPrediction(weight=10.0, horizon=1, input_noise=0.3),
    regularizer=SIGReg(weight=0.01, num_directions=8),
    reidentification=NearestCode(),
)


def agent(batch_size: int = 64, num_walks: int = 8) -> LatentPlanner:
    schedule = Schedule(num_updates=600, batch_size=batch_size, learning_rate=5e-3, updates_per_call=5)
    return LatentPlanner(
        world_model=WORLD_MODEL,
        world_model_training=schedule,
        cost=CostLearning(
            head=EuclideanCost(hidden_width=32, embedding_width=8),
            imagination=Imagination(num_walks=num_walks, walk_length=12, recorded_start_fraction=0.5),
            states_per_walk=4,
        ),
        cost_training=schedule,
        planner=BeamSearch(width=8, horizon=21),
    )


def train(walks: Trajectories, meshes: list[Mesh]) -> tuple[list[dict[str, list[dict[str, float]]]], dict[str, Any]]:
    """Returns for each mesh the losses of the first calls by stage, and the parameters of the last mesh's training."""
    figures, params = [{} for _ in meshes], {}
    for stages in zip(*(agent().stages(ENV, walks, jax.random.key(0), mesh) for mesh in meshes), strict=True):
        name, init = stages[0].name, jax.tree.map(np.asarray, stages[0].init())
        for stage, of_mesh in zip(stages, figures, strict=True):
            calls = stage.run(init, params)
            of_mesh[name] = [losses for _, losses in itertools.islice(calls, NUM_COMPARED)]
        *_, (state, _) = calls
        params[name] = jax.tree.map(np.asarray, state.params)
    return figures, params


def window(mesh: Mesh, walks: Trajectories) -> dict[str, Any]:
    """The batch of an update, and over how many devices it is spread."""
    sample = jax.jit(lambda walks, key: shard_batch(sample_windows(walks, 64, 2, key), mesh))
    batch = sample(walks, jax.random.key(0))
    return {"states": batch.states.tolist(), "num_shards": len(batch.states.sharding.device_set)}


def plans(mesh: Mesh, params: dict[str, Any]) -> dict[str, list]:
    evaluation = Evaluation(num_problems=22, problems_per_batch=8)
    problems = load_problems(ENV, evaluation)
    records = solve(ENV, agent().plan_function(ENV), params, problems, evaluation, mesh)
    return {
        "solved": records.solved.tolist(),
        "plan_lengths": records.plan_lengths.tolist(),
        "optimal_lengths": records.optimal_lengths.tolist(),
        "num_nodes_generated": records.num_nodes_generated.tolist(),
    }


def refusal(mesh: Mesh, walks: Trajectories, **sizes: int) -> str | None:
    try:
        agent(**sizes).stages(ENV, walks, jax.random.key(0), mesh)
    except ValueError as error:
        return str(error)
    return None


def main() -> None:
    walks = collect_walks(ENV, NonBacktrackingWalks(walk_length=24), 24 * 100, seed=0)
    four, one = data_mesh(), data_mesh(jax.devices()[:1])
    losses, params = train(walks, [four, one])
    report = {
        "num_devices": four.size,
        "losses": losses,
        "windows": [window(mesh, walks) for mesh in (four, one)],
        "plans": [plans(mesh, params) for mesh in (four, one)],
        "refusals": {
            "batch of 30": refusal(four, walks, batch_size=30),
            "24 states of 4 per walk": refusal(four, walks, batch_size=24),
            "6 imagined walks": refusal(four, walks, num_walks=6),
            "batch of 64": refusal(four, walks),
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
