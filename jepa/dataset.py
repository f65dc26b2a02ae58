"""Recorded walks: collected by a behaviour policy, kept on disk, checked whenever they are loaded.

A folder is written under a temporary name and renamed when it is complete, and its manifest carries the
SHA-256 of every file, so a dataset is either whole or refused. `dataset_files.py` and `data/README.md` have
the layout.
"""

import functools
import json
import os
import shutil
import uuid
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

import jepa
from jepa.behaviours import Behaviour
from jepa.dataset_files import (
    SCHEMA_VERSION,
    describe_behaviour,
    describe_env,
    read_manifest,
    read_shards,
    refusal,
    write_shards,
)
from jepa.envs.base import Env
from jepa.types import Trajectories

_NUM_REPLAYED = 64


def collect_walks(env: Env, behaviour: Behaviour, num_transitions: int, seed: int) -> Trajectories:
    """Records walks; walk i depends on the seed and i alone, so fewer walks are a prefix of more.

    Returns:
      `num_transitions / walk_length` walks in int32, in main memory (NumPy).

    Raises:
      ValueError: `num_transitions` is not a positive multiple of the behaviour's walk length.
    """
    num_walks, rest = divmod(num_transitions, behaviour.walk_length)
    if num_walks < 1 or rest:
        below, above = (behaviour.walk_length * count for count in (max(num_walks, 1), max(num_walks, 0) + 1))
        nearest = f"{below}" if below == above else f"{below} and {above}"
        raise ValueError(
            f"num_transitions must be a positive multiple of the walk length {behaviour.walk_length}, "
            f"came {num_transitions}; nearest valid: {nearest}"
        )
    return jax.tree.map(np.asarray, _record(env, behaviour, num_walks, jax.random.key(seed)))


@functools.partial(jax.jit, static_argnames=("env", "behaviour", "num_walks"))
def _record(env: Env, behaviour: Behaviour, num_walks: int, key: Key[Array, ""]) -> Trajectories:
    walk_keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(num_walks))
    start_keys, action_keys = jnp.unstack(jax.vmap(jax.random.split)(walk_keys), axis=1)
    choose_actions = jax.vmap(functools.partial(behaviour.choose_action, env))

    def advance(carry, time):
        previous_states, states = carry
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(action_keys, time)
        actions = choose_actions(keys, previous_states, states).astype(jnp.int32)
        return (states, jax.vmap(env.step)(states, actions)), (states, actions)

    starts = jax.vmap(env.initial_state)(start_keys)
    nowhere = jnp.full_like(starts, -1)
    (_, ends), (states, actions) = jax.lax.scan(advance, (nowhere, starts), jnp.arange(behaviour.walk_length))
    states = jnp.concatenate([states, ends[None]]).swapaxes(0, 1)
    return Trajectories(actions=actions.T, states=states, legal_actions=jax.vmap(jax.vmap(env.legal_actions))(states))


def dataset_path(root: Path, env: Env, behaviour: Behaviour, num_transitions: int, seed: int) -> Path:
    """Returns the usual folder of a dataset, such as `pocket_cube-nonbacktracking14-14000-seed0`."""
    return root / f"{env.name}-{behaviour.name}-{num_transitions}-seed{seed}"


def collect(env: Env, behaviour: Behaviour, num_transitions: int, seed: int, root: Path) -> Path:
    """Collects a dataset into its usual folder, or finds it there complete and valid; returns the folder.

    Processes that collect the same dataset at the same time all get it: the first to finish puts it in place.

    Raises:
      ValueError: `num_transitions` does not fit the walk length, or the folder is there but damaged, not this
        dataset, or recorded under other rules.
    """
    folder = dataset_path(root, env, behaviour, num_transitions, seed)
    if not folder.exists():
        walks = collect_walks(env, behaviour, num_transitions, seed)
        if _save_unless_there(folder, walks, env, behaviour, seed):
            return folder
    walks = load_dataset(folder, env)
    manifest = read_manifest(folder)
    expected = {
        "behaviour": describe_behaviour(behaviour),
        "num_transitions": num_transitions,
        "seed": seed,
    }
    for field, value in expected.items():
        if manifest.get(field) != value:
            raise refusal(folder / "manifest.json", f"expected {field} {value}, came {manifest.get(field)}")
    if not _obeys_rules(walks, env):
        reason = f"its moves break the rules of {env.name}, which were changed after the recording"
        raise refusal(folder / "manifest.json", reason)
    return folder


def _save_unless_there(folder: Path, walks: Trajectories, env: Env, behaviour: Behaviour, seed: int) -> bool:
    """Puts a dataset in place in one go; False if another process was faster, whose dataset stays."""
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    save_dataset(temporary, walks, env=env, behaviour=behaviour, seed=seed)
    try:
        os.rename(temporary, folder)
    except OSError:
        shutil.rmtree(temporary)
        if not folder.exists():
            raise
        return False
    return True


def _obeys_rules(trajectories: Trajectories, env: Env) -> bool:
    """Replays the first walks, so that nothing is learned from moves of a domain whose code was changed."""
    walks = jax.tree.map(lambda leaf: leaf[:_NUM_REPLAYED], trajectories)

    @jax.jit
    def replay(walks: Trajectories):
        following = jax.vmap(jax.vmap(env.step))(walks.states[:, :-1], walks.actions)
        return following, jax.vmap(jax.vmap(env.legal_actions))(walks.states)

    following, legal_actions = replay(walks)
    return np.array_equal(following, walks.states[:, 1:]) and np.array_equal(legal_actions, walks.legal_actions)


def save_dataset(folder: Path, trajectories: Trajectories, *, env: Env, behaviour: Behaviour, seed: int) -> None:
    """Writes walks and their manifest, all or nothing.

    Args:
      folder: must not exist yet; its parents are created.
      trajectories: walks in that domain by that behaviour; at least one.
      env: the domain.
      behaviour: the policy that chose the actions.
      seed: the seed that the walks were collected with.

    Raises:
      ValueError: the folder exists, or the walks are none or cannot be of that domain.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists and is never overwritten; delete it or choose another folder")
    num_walks, walk_length = trajectories.actions.shape
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "library_version": jepa.__version__,
            "env": describe_env(env),
            "behaviour": describe_behaviour(behaviour),
            "seed": seed,
            "num_walks": num_walks,
            "walk_length": walk_length,
            "num_transitions": num_walks * walk_length,
            "files": write_shards(temporary, trajectories, env),
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_dataset(folder: Path, env: Env) -> Trajectories:
    """Reads a dataset after checking every byte of it.

    Returns:
      All walks in int32, in main memory (NumPy).

    Raises:
      ValueError: a file is missing, unreadable, not the one in the manifest, or of another domain; the
        message names the file and the reason.
    """
    manifest = read_manifest(folder)
    if manifest.get("env") != describe_env(env):
        reason = f"expected walks of {describe_env(env)}, came {manifest.get('env')}"
        raise refusal(folder / "manifest.json", reason)
    arrays = read_shards(folder, manifest, env)
    return Trajectories(
        states=arrays["states"].astype(np.int32),
        actions=arrays["actions"].astype(np.int32),
        legal_actions=arrays["legal_actions"],
    )
