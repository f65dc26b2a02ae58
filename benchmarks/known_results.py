"""Shows that baselines reach known results on small tasks: `python -m benchmarks.known_results [--only ppo_cube]`.

Each is trained and graded as `train.py` and `eval.py` do it. Runs that are finished are not trained again, and figures
of baselines that are left out stay in the output.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tyro

from jepa.agents.alpha_zero import AlphaZero
from jepa.agents.episodes import Episodes
from jepa.agents.last_move import LastMovePolicy
from jepa.agents.ppo import PPO
from jepa.agents.q_learning_online import OnlineQLearning
from jepa.agents.walk_length import WalkLengthRegression
from jepa.behaviours import NonBacktrackingWalks
from jepa.config import Experiment
from jepa.costs.pairwise import PairwiseCost
from jepa.dataset import collect_walks
from jepa.envs.base import Env
from jepa.envs.pocket_cube import PocketCube
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.evaluation import Evaluation
from jepa.planners.beam_search import BeamSearch
from jepa.planners.proposal_search import ProposalSearch
from jepa.planners.tree_search import GumbelTreeSearch
from jepa.report import evaluate_run, write_report
from jepa.run_log import provenance, write_json_atomic
from jepa.runs import load_run, train
from jepa.training import Schedule

COMMAND = "python -m benchmarks.known_results"
CUBE, EIGHT, FIFTEEN = PocketCube(), SlidingTiles(), SlidingTiles(rows=4, columns=4)
NEARBY = Episodes(num_envs=128, max_scramble=3, episode_length=8)
FOLLOWED = ProposalSearch(width=1, horizon=8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A baseline on a task whose result is known."""

    claim: str
    """What it should reach."""
    experiment: Experiment
    """How it is trained and graded; its test problems are filled in."""
    holds: Callable[[Mapping[str, float]], bool]
    """Whether a summary.json reaches it."""
    walk: int = 0
    """Test problems begin with that many random moves from the goal; 0 for the domain's own, or those of a file."""
    needs_file: bool = False
    """Whether it is graded on a file of problems, given as `--fifteen-puzzle`."""


KNOWN = {
    "ppo_cube": Known(
        claim="PPO, its policy alone, solves all cubes that are three turns from solved",
        experiment=Experiment(env=CUBE, num_transitions=300_000, agent=PPO(episodes=NEARBY, planner=FOLLOWED)),
        holds=lambda found: found["solved_fraction"] == 1.0,
        walk=3,
    ),
    "dqn_cube": Known(
        claim="DQN with hindsight, its policy alone, solves all cubes that are three turns from solved",
        experiment=Experiment(
            env=CUBE,
            num_transitions=60_000,
            agent=OnlineQLearning(
                episodes=NEARBY,
                planner=FOLLOWED,
                training=Schedule(num_updates=50, batch_size=32_768, learning_rate=5e-4, updates_per_call=1),
            ),
        ),
        holds=lambda found: found["solved_fraction"] == 1.0,
        walk=3,
    ),
    "alpha_zero_tiles": Known(
        claim="AlphaZero with 32 simulations solves at least 95 % of 8-puzzles that are ten moves from solved",
        experiment=Experiment(
            env=EIGHT,
            num_transitions=2_000_000,
            agent=AlphaZero(
                episodes=Episodes(num_envs=64, max_scramble=40, episode_length=20),
                planner=GumbelTreeSearch(num_simulations=32, horizon=20),
            ),
        ),
        holds=lambda found: found["solved_fraction"] >= 0.95,
        walk=10,
    ),
    "last_move_cube": Known(
        claim="the last-move policy solves all pocket cubes with a beam",
        experiment=Experiment(
            env=CUBE,
            num_transitions=1_400_000,
            behaviour=NonBacktrackingWalks(walk_length=14),
            agent=LastMovePolicy(training=Schedule(num_updates=5000), planner=ProposalSearch(width=256, horizon=20)),
        ),
        holds=lambda found: found["solved_fraction"] == 1.0,
    ),
    "walk_length_tiles": Known(
        claim="regression of walk lengths solves the published 15-puzzles with a beam of 64 in about 61 moves or fewer",
        experiment=Experiment(
            env=FIFTEEN,
            num_transitions=3_000_000,
            behaviour=NonBacktrackingWalks(walk_length=100),
            agent=WalkLengthRegression(
                head=PairwiseCost(hidden_width=512),
                training=Schedule(num_updates=8000, learning_rate=1e-3),
                planner=BeamSearch(width=64, horizon=160),
            ),
        ),
        holds=lambda found: found["solved_fraction"] == 1.0 and found["mean_plan_length"] <= 62.0,
        needs_file=True,
    ),
}


def main(
    only: tuple[str, ...] = (),
    fifteen_puzzle: Path | None = None,
    num_problems: int = 200,
    runs: Path = Path("runs/known_results"),
    output: Path = Path("benchmarks/results/known_results.json"),
) -> None:
    """Trains and grades, and writes what came out beside what is claimed.

    Args:
      only: names of the baselines; all if none is given.
      fifteen_puzzle: published 15-puzzles, as `start` in an .npz file; what needs it is left out without it.
      num_problems: test problems.
      runs: folder of the run folders.
      output: JSON file to write.
    """
    if unknown := set(only) - set(KNOWN):
        raise SystemExit(f"expected --only to name some of {', '.join(KNOWN)}; came {', '.join(sorted(unknown))}")
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"] if output.exists() else {}
    for name in only or KNOWN:
        known = KNOWN[name]
        if known.needs_file and fifteen_puzzle is None:
            print(f"{name} is left out: it needs --fifteen-puzzle FILE")
            continue
        problems = fifteen_puzzle if known.needs_file else None
        if known.walk:
            problems = runs / f"{name}.npz"
            runs.mkdir(parents=True, exist_ok=True)
            np.savez(problems, start=scrambled(known.experiment.env, known.walk, num_problems))
        evaluation = Evaluation(num_problems=num_problems, problems=problems)
        summary = _grade(dataclasses.replace(known.experiment, evaluation=evaluation), runs / name)
        fields = ("solved_fraction", "mean_plan_length", "mean_optimal_length", "mean_nodes_generated")
        fields += ("num_transitions", "num_gradient_samples", "training_seconds", "num_problems")
        figures = {field: summary[field] for field in fields}
        rows[name] = {"claim": known.claim, "holds": bool(known.holds(summary)), **figures, "provenance": provenance()}
        print(f"{name}: {known.claim}: {'yes' if rows[name]['holds'] else 'NO'} {figures}", flush=True)
        write_json_atomic(output, {"command": COMMAND, "rows": rows})


def _grade(experiment: Experiment, folder: Path) -> Mapping[str, float]:
    train(experiment, folder, print)
    report = evaluate_run(load_run(folder, experiment), lambda phase, done, total: None)
    write_report(report, folder)
    return report.summary


def scrambled(env: Env, length: int, count: int) -> np.ndarray:
    """Returns up to `count` different states that are exactly `length` moves from the goal, found by random walks."""
    walks = collect_walks(env, NonBacktrackingWalks(walk_length=length), 50 * count * length, seed=0)
    states = np.unique(walks.states[:, -1], axis=0)
    states = states[env.optimal_lengths(env.problems_from_arrays({"start": states})) == length]
    return np.random.default_rng(0).permutation(states)[:count]


if __name__ == "__main__":
    tyro.cli(main)
