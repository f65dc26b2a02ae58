"""Trained agents that come with the package: weights as plain arrays beside the experiment that made them.

A folder of `jepa/weights/` holds `config.json` as a run folder does, `weights.npz` (one array per parameter, named by
its path, in half precision) and `card.json`: where the run came from and how it was graded. Nothing in it is executed.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jepa.array_files import arrays_from_npz
from jepa.config import to_json
from jepa.run_config import read_config, read_json
from jepa.run_log import write_json_atomic
from jepa.runs import Run, untrained_states

FOLDER = Path(str(resources.files("jepa"))) / "weights"
"""Where the package has its trained agents."""


def names() -> list[str]:
    """Returns the names of the trained agents that are there."""
    return sorted(path.parent.name for path in FOLDER.glob("*/weights.npz"))


def save_pretrained(run: Run, summary: dict[str, Any], folder: Path) -> None:
    """Writes a run as a trained agent.

    Args:
      run: what to write.
      summary: its grading, of which the figures go onto the card.
      folder: a new or empty folder.

    Raises:
      ValueError: something is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"expected a new or empty folder for the trained agent, but {folder} is not")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(leaf, np.float16) for name, leaf in _named(run.params).items()}
    np.savez_compressed(folder / "weights.npz", **arrays)
    card = {name: value for name, value in summary.items() if name != "config"}
    write_json_atomic(folder / "card.json", card)
    write_json_atomic(folder / "config.json", to_json(run.experiment))


def load_pretrained(name: str) -> Run:
    """Returns a trained agent of the package.

    Raises:
      ValueError: there is none of this name, or its files are damaged or of another version.
    """
    if name not in names():
        raise ValueError(f"expected a trained agent, of which there are {', '.join(names()) or 'none'}; came {name!r}")
    place = FOLDER / name
    experiment = read_config(place)
    card = _read_card(place / "card.json")
    shapes = {stage: state.params for stage, state in untrained_states(experiment).items()}
    paths = _named(shapes)
    try:
        arrays = arrays_from_npz((place / "weights.npz").read_bytes())
    except ValueError as error:
        raise ValueError(f"{place / 'weights.npz'} is damaged: {error}") from error
    expected = {path: (leaf.shape, np.dtype(np.float16)) for path, leaf in paths.items()}
    if expected != {path: (array.shape, array.dtype) for path, array in arrays.items()}:
        raise ValueError(f"{place / 'weights.npz'} does not hold the parameters of the experiment beside it")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(f"{place / 'weights.npz'} is damaged: it holds numbers that are not finite")
    leaves = [jnp.asarray(arrays[path], leaf.dtype) for path, leaf in paths.items()]
    return Run(
        experiment=experiment,
        params=jax.tree.unflatten(jax.tree.structure(shapes), leaves),
        training_seconds=float(card["training_seconds"]),
        num_gradient_samples=card["num_gradient_samples"],
        num_transitions=card["num_transitions"],
        num_verifier_calls=0,  # Only latent planners come along, which never ask.
        alarms={},
    )


def _read_card(path: Path) -> dict[str, Any]:
    """Returns what a card says of the training."""
    card = read_json(path)
    wanted = {"training_seconds": int | float, "num_gradient_samples": int, "num_transitions": int}
    if not isinstance(card, dict) or any(not isinstance(card.get(name), kind) for name, kind in wanted.items()):
        raise ValueError(f"{path} is damaged: it must be an object with the numbers {', '.join(wanted)}")
    return {name: card[name] for name in wanted}


def _named(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree by their paths, in the tree's own order."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in _leaves(tree)}


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]
