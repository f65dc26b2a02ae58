"""Says what the batches of 100 updates are, sampled by several processes together: a digest of each, on stderr."""

import argparse
import functools
import hashlib
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jepa.behaviours import NonBacktrackingWalks
from jepa.dataset import collect_walks
from jepa.envs.sliding_tiles import SlidingTiles
from jepa.mesh import data_mesh, replicate, shard_batch
from jepa.processes import Processes, join, leave
from jepa.training import sample_windows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--coordinator")
    parser.add_argument("--num-processes", type=int)
    parser.add_argument("--process-id", type=int)
    join(Processes(**vars(parser.parse_args())))
    mesh = data_mesh()
    walks = replicate(
        collect_walks(SlidingTiles(rows=2, columns=3), NonBacktrackingWalks(walk_length=14), 1400, seed=0), mesh
    )

    @functools.partial(jax.jit, out_shardings=NamedSharding(mesh, PartitionSpec()))
    def batch(walks, update):
        return shard_batch(sample_windows(walks, 32, 2, jax.random.fold_in(jax.random.key(0), update)), mesh)

    for update in range(100):
        leaves = jax.tree.leaves(batch(walks, replicate(np.int32(update), mesh)))
        print(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest(), file=sys.stderr)
    leave()


if __name__ == "__main__":
    main()
