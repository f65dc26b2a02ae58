"""Trains and plans on four devices and on one of them; prints what came out as JSON. Run by `test_mesh.py`."""

import json

import jax
import numpy as np

from jepa.agents.latent_planner import LatentPlanner
from jepa.behaviours import NonBacktrackingWalks
from jepa.costs.euclidean import EuclideanCost
from jepa.costs.imagination import Imagination
from jepa.costs.learning import CostLearning
from jepa.dataset import collect_walks
from jepa.encoders.token_slots import TokenSlotsEncoder
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation, load_problems, solve
from jepa.objectives.prediction import RolloutPrediction
from jepa.objectives.sigreg import SIGReg
from jepa.planners.beam_search import BeamSearch
from jepa.predictors.reidentification import NearestCode
from jepa.predictors.slot_mixer import SlotMixerPredictor
from jepa.training import Schedule, data_mesh, sample_windows, shard_batch
from jepa.world_model import WorldModel

ENV = SlidingTiles(rows=2, columns=2)
WORLD_MODEL = WorldModel(
    encoder=TokenSlotsEncoder(slot_width=8),
    predictor=SlotMixerPredictor(width=16),
    prediction=RolloutPrediction(weight=10.0, horizon=1),
    regularizer=SIGReg(weight=0.01, num_directions=8),
    reidentification=NearestCode(),
)


def agent(num_updates: int, updates_per_call: int, batch_size: int = 64, num_walks: int = 8) -> LatentPlanner:
    schedule = Schedule(
        num_updates=num_updates, batch_size=batch_size, learning_rate=1e-2, updates_per_call=updates_per_call
    )
    return LatentPlanner(
        world_model=WORLD_MODEL,
        world_model_training=schedule,
        cost=CostLearning(
            head=EuclideanCost(hidden_width=16, embedding_width=4),
            imagination=Imagination(num_walks=num_walks, walk_length=6),
            states_per_walk=4,
        ),
        cost_training=schedule,
        planner=BeamSearch(width=8, horizon=8),
    )


def losses(mesh: jax.sharding.Mesh, walks) -> tuple[dict[str, list[dict[str, float]]], dict]:
    """Losses of every update of both stages, by stage, and the parameters at the end."""
    figures, params = {}, {}
    for stage in agent(num_updates=6, updates_per_call=1).stages(ENV, walks, jax.random.key(0), mesh):
        figures[stage.name] = []
        for state, update in stage.run(stage.init(), params):
            figures[stage.name].append(update)
        params[stage.name] = jax.tree.map(np.asarray, state.params)
    return figures, params


def window(mesh: jax.sharding.Mesh, walks) -> dict:
    """The batch of an update, and over how many devices it is spread."""
    sample = jax.jit(lambda walks, key: shard_batch(sample_windows(walks, 64, 2, key), mesh))
    batch = sample(walks, jax.random.key(0))
    return {"states": batch.states.tolist(), "num_shards": len(batch.states.sharding.device_set)}


def plans(mesh: jax.sharding.Mesh, params: dict) -> dict:
    evaluation = Evaluation(num_problems=22, problems_per_batch=8)
    records = solve(
        ENV,
        agent(num_updates=6, updates_per_call=1).plan_function(ENV, params),
        load_problems(ENV, evaluation),
        evaluation,
        mesh,
    )
    return {
        "solved": records.solved.tolist(),
        "plan_lengths": records.plan_lengths.tolist(),
        "optimal_lengths": records.optimal_lengths.tolist(),
        "num_nodes_generated": records.num_nodes_generated.tolist(),
    }


def refusal(mesh: jax.sharding.Mesh, walks, **sizes: int) -> str | None:
    try:
        agent(num_updates=6, updates_per_call=1, **sizes).stages(ENV, walks, jax.random.key(0), mesh)
    except ValueError as error:
        return str(error)
    return None


def main() -> None:
    walks = collect_walks(ENV, NonBacktrackingWalks(walk_length=8), 8 * 32, seed=0)
    four, one = data_mesh(), data_mesh(jax.devices()[:1])
    four_losses, _ = losses(four, walks)
    one_losses, params = losses(one, walks)
    report = {
        "num_devices": four.size,
        "losses": [four_losses, one_losses],
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
