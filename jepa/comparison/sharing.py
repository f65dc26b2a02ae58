"""Cells train once what they would train alike: who comes later takes over what is trained.

All of it where they differ in nothing but planner and test problems, the world model where they learn something else on
top of it. Training is a pure function of config and seed, so a cell that trained for itself would get the same; and
planners are compared on the same weights. The cost of training counts for each.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence

from jepa.comparison.cells import Cell
from jepa.run_config import changed_training
from jepa.world_model_reuse import changed_world_model

CHECKPOINTS = "checkpoints"
"""Folder of what is trained, in the folder of a run."""
_BESIDE = ("config.json", "provenance.json", "metrics.jsonl")


def trains_alike(one: Cell, other: Cell) -> bool:
    """Returns whether two different cells would train the same."""
    return one.name != other.name and not changed_training(one.experiment, other.experiment)


def same_world_model(one: Cell, other: Cell) -> bool:
    """Returns whether two different cells would train the same world model."""
    return one.name != other.name and changed_world_model(one.experiment, other.experiment) == {}


def with_world_model(cell: Cell, finished: Sequence[Cell]) -> tuple[Cell, Cell | None]:
    """Lets a cell that has trained nothing take over the world model of a finished one, if one has the same.

    Args:
      cell: The cell.
      finished: Cells whose training is complete.

    Returns:
      The cell, whose training perhaps begins with another's world model; and whose it is, or None.
    """
    if cell.num_done or (cell.folder / CHECKPOINTS).exists():
        return cell, None
    if (source := _first_trained(finished, lambda one: same_world_model(cell, one))) is None:
        return cell, None
    train, *others = cell.commands
    return dataclasses.replace(cell, commands=((*train, "--world-model-from", str(source.folder)), *others)), source


def take_training(cell: Cell, finished: Sequence[Cell]) -> Cell | None:
    """Copies the training of a finished cell that trains alike, unless the cell has begun for itself.

    Args:
      cell: The cell, whose folder is there.
      finished: Cells whose training is complete.

    Returns:
      Whose training it is; None if there is none to copy. A copy that was broken off is made anew by the next call.
    """
    target = cell.folder / CHECKPOINTS
    if target.exists():
        return None
    if (source := _first_trained(finished, lambda one: trains_alike(cell, one))) is None:
        return None
    for path in (source.folder / name for name in _BESIDE):
        if path.exists():
            shutil.copy2(path, cell.folder / path.name)
    unfinished = target.with_name(f".{CHECKPOINTS}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source.folder / CHECKPOINTS, unfinished)
    unfinished.rename(target)
    return source


def _first_trained(finished: Sequence[Cell], is_wanted: Callable[[Cell], bool]) -> Cell | None:
    return next((one for one in finished if (one.folder / CHECKPOINTS).is_dir() and is_wanted(one)), None)
