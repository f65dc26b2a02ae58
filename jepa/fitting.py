"""Runs the stages of a training from where their states stand: logged, saved on the way, stopped when asked."""

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jepa.checkpoint import Checkpoints
from jepa.nonfinite import num_skipped, require_progress
from jepa.processes import Watchdog, exchange_numbers, is_first
from jepa.run_log import RunLog
from jepa.stopping import Stopped, StopRequest, stop_requests
from jepa.training import Stage, TrainState


def fit(
    stages: Sequence[Stage],
    states: dict[str, TrainState],
    folder: Path,
    checkpoints: Checkpoints,
    metadata: dict,
    seconds_between_checkpoints: float,
    watchdog: Watchdog,
) -> float:
    """Runs all stages from where their states stand; returns the seconds of training so far.

    Several processes do the same here, each with its devices' share of every batch; process 0 alone writes the log.
    """
    began = time.monotonic()

    def seconds() -> float:
        return metadata["training_seconds"] + time.monotonic() - began

    def save() -> None:
        step = sum(int(state.num_updates) for state in states.values())
        # The next call consumes the arrays while the checkpoint is still being written: save a copy.
        copies = jax.tree.map(lambda leaf: np.array(leaf, copy=True), states)
        checkpoints.save(step, copies, metadata | {"training_seconds": seconds()})

    for stage in stages:
        _fit_stage(stage, states, folder, save, seconds_between_checkpoints, watchdog)
    checkpoints.wait()
    return seconds()


def _fit_stage(
    stage: Stage,
    states: dict[str, TrainState],
    folder: Path,
    save: Callable[[], None],
    seconds_between_checkpoints: float,
    watchdog: Watchdog,
) -> None:
    """Runs one stage to its end, changing its entry in `states`."""
    schedule = stage.schedule
    done = int(states[stage.name].num_updates)
    if done == schedule.num_updates:
        return
    params = {name: state.params for name, state in states.items()}
    last_saved, skipped = time.monotonic(), num_skipped(states[stage.name].opt_state)
    sizes = dict(num_updates=schedule.num_updates, batch_size=schedule.batch_size, num_updates_done=done)
    with _log(folder, stage.name, **sizes) as log, contextlib.ExitStack() as listening:
        request = StopRequest()
        for state, losses in stage.run(states[stage.name], params):
            if done == sizes["num_updates_done"]:
                # Not before the first call: a signal while it compiles has nothing to wait for, and ends the process.
                request = listening.enter_context(stop_requests())
            states[stage.name] = state
            done = int(state.num_updates)
            _require_finite(losses, state, stage.name, skipped)
            skipped = num_skipped(state.opt_state)
            if log is not None:
                log.write(done, losses | {"num_skipped_updates": skipped})
            is_due = done == schedule.num_updates or time.monotonic() - last_saved > seconds_between_checkpoints
            is_due, signal_number = _agree(is_due, request.number)
            if is_due or signal_number is not None:
                last_saved = time.monotonic()
                save()
            watchdog.hear()
            if signal_number is not None:
                raise Stopped(signal_number, sum(int(state.num_updates) for state in states.values()))


def _log(folder: Path, stage: str, **sizes: int) -> contextlib.AbstractContextManager[RunLog | None]:
    return RunLog(folder, stage=stage, **sizes) if is_first() else contextlib.nullcontext()


def _agree(is_due: bool, signal_number: int | None) -> tuple[bool, int | None]:
    """Returns what all processes do: they save when the clock of process 0 says so, and stop if any was asked to."""
    numbers = exchange_numbers(is_due, signal_number or 0)
    return bool(numbers[0, 0]), int(numbers[:, 1].max()) or None


def _require_finite(losses: Mapping[str, Any], state: TrainState, stage: str, num_skipped_before: int) -> None:
    """Warns of skipped updates; refuses to go on after too many, or with losses that no skipped update explains."""
    done = int(state.num_updates)
    require_progress(state.params, state.opt_state, stage, done)
    if new := num_skipped(state.opt_state) - num_skipped_before:
        if is_first():
            warnings.warn(f"stage {stage} skipped updates without finite gradients before {done}: {new}", stacklevel=2)
        return
    for name, value in losses.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"{name} of stage {stage} became {value} within the updates before {done}; the last "
                f"checkpoint is good. Lower the learning rate and train into another folder"
            )
