"""Configs and fake programs for tests of comparisons: cells that take milliseconds and do what they are told."""

import json
from pathlib import Path

from jepa.comparison.cells import Comparison
from jepa.config import to_json

REPORT_FILES = ("comparison.md", "comparison.tex", "comparison.csv", "cells.jsonl")
"""What a report is, beside its figures."""
CONFIG = """
from jepa.config import Experiment
from jepa.envs.{module} import {env}

config = Experiment(env={env}({arguments}), num_transitions={num_transitions})
"""
ENVS = {
    "cube": ("pocket_cube", "PocketCube", "", 28),
    "tiles": ("sliding_tiles", "SlidingTiles", "rows=2, columns=3", 42),
}

# What happens is told by orders.json beside the programs: by name of a cell, of train.py.
TRAIN = """
import json, os, subprocess, sys, time
from pathlib import Path

words = sys.argv[1:]
folder = Path(words[words.index("--run-dir") + 1])
here = Path(__file__).parent
name = "/".join(folder.parts[-3:])
order = json.loads((here / "orders.json").read_text()).get(name, "")
with (here / "calls.txt").open("a") as file:
    file.write(f"train {name}\\n")
experiment = json.loads((folder / "cell.json").read_text())["experiment"]
(folder / "config.json").write_text(json.dumps(experiment))
(folder / "environment.json").write_text(json.dumps(dict(os.environ)))
if "--world-model-from" in words:
    (folder / "world_model_from").write_text(words[words.index("--world-model-from") + 1])
    if order == "take nothing":
        sys.exit("error: the other folder is damaged")
print("training", name, flush=True)
(folder / "checkpoints").mkdir(exist_ok=True)
if not list((folder / "checkpoints").iterdir()):
    (folder / "checkpoints" / "trained_by").write_text(name)
if order == "exit 3":
    sys.exit(3)
if order == "fail":
    sys.exit("error: the loss became nan\\nTry a lower learning rate")
if order.startswith("meet"):
    began = time.time()
    (here / f"met-{folder.name}").touch()
    while len(list(here.glob("met-*"))) < int(order.split()[1]):
        time.sleep(0.01)
    time.sleep(0.05)
    (folder / "times.json").write_text(json.dumps([began, time.time()]))
if order in ("hang", "ignore"):
    if order == "ignore":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    (folder / "pids.tmp").write_text(json.dumps([os.getpid(), child.pid]))
    (folder / "pids.tmp").rename(folder / "pids.json")
    time.sleep(60)
"""
EVAL = """
import json, sys
from pathlib import Path

is_curve = sys.argv[1] == "curve"
folder = Path(sys.argv[1 + is_curve])
here = Path(__file__).parent
name = "/".join(folder.parts[-3:])
order = json.loads((here / "orders.json").read_text()).get(name, "")
with (here / "calls.txt").open("a") as file:
    file.write(f"{'curve' if is_curve else 'eval'} {name}\\n")
experiment = json.loads((folder / "cell.json").read_text())["experiment"]
if is_curve:
    words = sys.argv[3:]
    scales = [float(word) for word in words[words.index("--search-scales") + 1 :]]
    points = [{"scale": scale, "mean_nodes_generated": 10 * scale, "solved": [1, 0, 0, 0]} for scale in scales]
    num_samples = int(words[words.index("--num-samples") + 1])
    shares = {"pass_at_k_oracle": [0.5], "rerank_at_k": [0.25], "consensus_at_k": [0.0]}
    sizes = {"num_samples": num_samples, "k": [1], "temperature": 0.5, "mean_nodes_per_sample": 7.0}
    samples = sizes | shares if num_samples else None
    curve = {"num_problems": 4, "search": points, "samples": samples, "config": experiment}
    (folder / "curve.json").write_text(json.dumps(curve))
    sys.exit(0)
if order == "other seed":
    experiment["seed"] += 1
records = [
    {"start": [i], "goal": [0], "actions": [0] * (i + 1), "solved": i < 3, "optimal_length": 1 if i < 2 else None}
    for i in range(4)
]
summary = {
    "num_problems": 4, "solved_fraction": 0.75, "seed": experiment["seed"],
    "num_transitions": experiment["num_transitions"], "config": experiment,
}
(folder / "records.jsonl").write_text("".join(json.dumps(record) + "\\n" for record in records))
if order != "no summary":
    (folder / "summary.json").write_text(json.dumps(summary))
"""


class Workplace:
    """A folder with configs, fake programs and the output of comparisons."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.programs = folder / "programs"
        self.output = folder / "out"
        self.programs.mkdir()
        (self.programs / "train.py").write_text(TRAIN)
        (self.programs / "eval.py").write_text(EVAL)
        self.order({})
        for name, (module, env, arguments, num_transitions) in ENVS.items():
            text = CONFIG.format(module=module, env=env, arguments=arguments, num_transitions=num_transitions)
            (folder / f"{name}.py").write_text(text)

    def order(self, orders: dict[str, str]) -> None:
        (self.programs / "orders.json").write_text(json.dumps(orders))

    def calls(self) -> list[str]:
        """What was called since it was asked last."""
        path = self.programs / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def comparison(self, *names: str, **settings) -> Comparison:
        configs = tuple(self.folder / f"{name}.py" for name in names or ENVS)
        return Comparison(**({"configs": configs, "output_dir": self.output, "seeds": (0, 1)} | settings))

    def cell(self, name: str) -> dict:
        return json.loads((self.output / name / "cell.json").read_text())


def entry_json(experiment, **fields) -> dict:
    """A cell.json of an experiment, as if it had finished."""
    plain = {
        "config": "configs/a.py", "method": type(experiment.agent).__name__, "domain": experiment.env.name,
        "num_transitions": experiment.num_transitions, "seed": experiment.seed, "experiment": to_json(experiment),
        "commands": [], "jobs": 1, "status": "finished", "error": "", "seconds": 1.0,
    }  # fmt: skip
    return plain | fields
