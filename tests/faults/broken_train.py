"""`train.py`, in which one process fails after some updates: `broken_train.py KIND PROCESS UPDATES CONFIG ...`."""

import sys
import time

import jax

import train
from jepa import fitting


def main() -> None:
    kind, number, num_updates = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    del sys.argv[1:4]
    require_finite = fitting._require_finite

    def break_down(losses, state, *arguments):
        require_finite(losses, state, *arguments)
        if jax.process_index() == number and int(state.num_updates) >= num_updates:
            print(f"{kind} at {time.monotonic()}", file=sys.stderr, flush=True)
            if kind == "hang":
                time.sleep(1000)
            raise RuntimeError("broken on purpose")

    fitting._require_finite = break_down
    train.main()


if __name__ == "__main__":
    main()
