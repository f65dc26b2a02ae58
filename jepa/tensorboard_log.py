"""The numbers and pictures of a run for TensorBoard, which may fail without harm."""

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class TensorBoard:
    """Events for TensorBoard; the first failure is a warning and the end of them.

    Written in the thread of the caller: that of tensorboardX's `SummaryWriter` dies on a full disk without a
    word, after which training would wait for its queue for ever.

    Args:
        folder: Folder of one stage or evaluation, made if missing.
        num_updates_done: Updates done before; later ones in the folder are hidden.
    """

    def __init__(self, folder: Path, num_updates_done: int):
        self._writer: Any = None
        with self._no_harm():
            from tensorboardX.event_file_writer import EventsWriter

            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._add(num_updates_done + 1, session_log={"status": 1})  # START: hides what a killed run wrote.

    def write(self, num_updates_done: int, numbers: Mapping[str, float]) -> None:
        """Adds numbers by name."""
        values = [{"tag": name, "simple_value": number} for name, number in numbers.items()]
        self._add(num_updates_done, summary={"value": values})

    def write_histogram(self, num_updates_done: int, name: str, counts: Sequence[int], edges: np.ndarray) -> None:
        """Adds how many values lie between each two edges, of which there is one more than counts."""
        counts, edges = np.asarray(counts, float), np.asarray(edges, float)
        centres = (edges[1:] + edges[:-1]) / 2
        filled = np.flatnonzero(counts)
        if not filled.size:
            return
        histogram = {
            "min": edges[filled[0]],
            "max": edges[filled[-1] + 1],
            "num": counts.sum(),
            "sum": (counts * centres).sum(),
            "sum_squares": (counts * centres**2).sum(),
            "bucket_limit": edges.tolist(),
            "bucket": [0.0, *counts],  # The first bucket ends at the first edge.
        }
        self._add(num_updates_done, summary={"value": [{"tag": name, "histo": histogram}]})

    def write_image(self, num_updates_done: int, name: str, png: bytes, width: int, height: int) -> None:
        """Adds a picture, given as the content of a PNG file of so many pixels."""
        image = {"encoded_image_string": png, "width": width, "height": height, "colorspace": 4}
        self._add(num_updates_done, summary={"value": [{"tag": name, "image": image}]})

    def write_hyperparameters(
        self, values: Mapping[str, float | str | bool], metrics: Mapping[str, float | int]
    ) -> None:
        """Adds hyper-parameters with the metrics that they led to; the metrics are numbers of the same folder."""
        if self._writer is not None:
            with self._no_harm():
                from tensorboardX.summary import hparams

                for summary in hparams(dict(values), dict(metrics)):
                    self._add(0, summary=summary)
        self.write(0, metrics)

    def close(self) -> None:
        """Ends the file."""
        if self._writer is not None:
            with self._no_harm():
                self._writer.close()

    def _add(self, num_updates: int, **content: Any) -> None:
        if self._writer is not None:
            with self._no_harm():
                from tensorboardX.proto.event_pb2 import Event

                self._writer.write_event(Event(wall_time=time.time(), step=num_updates, **content))
                self._writer.flush()

    @contextlib.contextmanager
    def _no_harm(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Pictures of a run must not end it, whatever they fail with.
            self._writer = None
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"TensorBoard gets no more numbers, metrics.jsonl does ({reason})", stacklevel=4)
