"""The numbers of a run for TensorBoard, which may fail without harm."""

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class TensorBoard:
    """Scalars for TensorBoard; the first failure is a warning and the end of them.

    Written in the thread of the caller: that of tensorboardX's `SummaryWriter` dies on a full disk without a
    word, after which training would wait for its queue for ever.

    Args:
        folder: Folder of one stage, made if missing.
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
