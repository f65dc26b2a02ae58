"""What training warns of: figures of its log whose names start with `alarm_` and which must stay 0."""

from pathlib import Path

from jepa.run_log import read_jsonl

ALARMS = {
    "alarm_collapse": "the latents have collapsed (see effective_rank and closest_codes in metrics.jsonl): states can "
    "hardly be told apart. Raise --world-model.regularizer.weight, or --world-model.code-separation.weight",
    "alarm_drift": "the cost fits imagined walks better than recorded ones, so it reads time off the drift of the "
    "predictor, not distance. Train the world model longer, or with more --world-model.prediction.input-noise",
}
"""What the alarms of training mean, and what to do."""


def read_alarms(folder: Path) -> dict[str, bool]:
    """Returns which alarms stood in the last row of any stage; empty if there is no metrics.jsonl.

    Raises:
      ValueError: metrics.jsonl is damaged.
    """
    path = folder / "metrics.jsonl"
    rows = read_jsonl(path) if path.is_file() else []
    last_rows = {str(row.get("stage")): row for row in rows}
    alarms = [item for row in last_rows.values() for item in row.items() if item[0].startswith("alarm_")]
    return {name: any(value for other, value in alarms if other == name) for name, _ in alarms}
