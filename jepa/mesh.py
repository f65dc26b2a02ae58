"""Where arrays lie: on all devices of all processes, whole or split by their first axis."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def data_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over all devices (or the given ones) with the one axis "data"."""
    return Mesh(np.array(devices or jax.devices()), ("data",))


def shard_batch(batch: Any, mesh: Mesh) -> Any:
    """Splits the first axis of every leaf over the devices, inside a compiled function."""
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, PartitionSpec("data")))


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Returns arrays that lie whole on every device of a mesh; every process must have the same ones."""
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def split(tree: Any, mesh: Mesh) -> Any:
    """Returns arrays whose first axis is split over the devices; every process must have the same whole ones."""
    return _put(tree, NamedSharding(mesh, PartitionSpec("data")))


def _put(tree: Any, sharding: NamedSharding) -> Any:
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(leaf: Any) -> jax.Array:  # Each process gives its own devices what they hold, without asking the others.
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def check_divisible(batch_size: int, mesh: Mesh) -> None:
    """Raises ValueError when a batch cannot be split evenly over the devices of a mesh."""
    if batch_size % mesh.size:
        raise ValueError(
            f"a batch of {batch_size} cannot be split over {mesh.size} devices; choose a multiple of {mesh.size}"
        )
