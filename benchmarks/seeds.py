"""Trains and grades configs with several seeds and records the figures: `python -m benchmarks.seeds`.

Each cell is the two commands a user would type, in processes of their own; finished runs are not trained again.

    python -m benchmarks.seeds [--configs configs/pocket_cube.py ...] [--seeds 0 1 2] [--widths 64 256]
"""

import json
import subprocess
import sys
from pathlib import Path

import tyro

from jepa.run_log import provenance, write_json_atomic

COLUMNS = (
    "solved_fraction",
    "mean_plan_length",
    "mean_optimal_length",
    "mean_nodes_generated",
    "seconds_per_problem",
    "false_claim_fraction",
    "exact_model_solved_fraction",
    "exact_model_mean_plan_length",
    "random_solved_fraction",
    "rollout_accuracy_1",
    "rollout_accuracy_4",
    "rollout_accuracy_14",
    "cost_spearman",
    "sibling_ranking_accuracy",
    "effective_rank",
    "training_seconds",
)


def main(
    configs: tuple[Path, ...] = (Path("configs/pocket_cube.py"), Path("configs/sliding_tiles.py")),
    seeds: tuple[int, ...] = (0, 1, 2),
    widths: tuple[int, ...] = (16, 64, 256),
    num_problems: int = 1000,
    output: Path = Path("benchmarks/results/seeds.json"),
) -> None:
    """Runs all cells and writes their figures as JSON, and a Markdown table beside it.

    Args:
      configs: config files.
      seeds: seeds of training, data included.
      widths: beam widths.
      num_problems: test problems, the same for all seeds.
      output: JSON file to write.
    """
    rows = []
    for path in configs:
        for seed in seeds:
            folder = Path("runs") / path.stem / f"seed{seed}"
            _run("train.py", path, "--seed", seed)
            for width in widths:
                results = folder / f"width{width}"
                flags = ("--planner.width", width, "--num-problems", num_problems, "--output-dir", results)
                _run("eval.py", folder, *flags)
                summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
                row = {"config": path.stem, "seed": seed, "width": width}
                rows.append(row | {name: summary.get(name) for name in COLUMNS})
    command = "python -m benchmarks.seeds"
    write_json_atomic(output, {"command": command, "provenance": provenance(), "rows": rows})
    output.with_suffix(".md").write_text(_markdown(rows, command), encoding="utf-8")
    print(f"Written to {output} and {output.with_suffix('.md')}")


def _run(*arguments: object) -> None:
    print("python", *arguments, flush=True)
    subprocess.run([sys.executable, *map(str, arguments)], check=True)


def _markdown(rows: list[dict], command: str) -> str:
    header = ("config", "seed", "width", *COLUMNS)
    lines = [f"Made by `{command}`; hardware and versions are in the JSON file of the same name.", ""]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in header]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
