"""Which action undoes which, noticed during a search, so that nodes are not generated only to be met again.

A search without it spends a share of its nodes on going back. Nobody tells it that
"left" undoes "right": it sees that the prediction after the second action is the node before the first.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jepa.types import pytree


@pytree
class Inverses:
    """What was seen so far of pairs of actions (a, then b), for each of B problems."""

    led_back: Bool[Array, "B A A"]
    """Whether b ever led back to the node before a."""
    led_elsewhere: Bool[Array, "B A A"]
    """Whether it ever led to any other node."""

    def undoing(self, last_actions: Int[Array, "B W"]) -> Bool[Array, "B W A"]:
        """Returns the actions that always led back after the last action of each node; none at the start, -1."""
        always = self.led_back & ~self.led_elsewhere
        rows = jnp.arange(always.shape[0])[:, None]
        return always[rows, jnp.maximum(last_actions, 0)] & (last_actions >= 0)[..., None]

    def after(
        self, last_actions: Int[Array, "B W"], leads_back: Bool[Array, "B W A"], seen: Bool[Array, "B W A"]
    ) -> "Inverses":
        """Returns what is known after the successors that are marked as seen."""
        seen &= (last_actions >= 0)[..., None]
        rows, last = jnp.arange(seen.shape[0])[:, None], jnp.maximum(last_actions, 0)
        return Inverses(
            led_back=self.led_back.at[rows, last].max(seen & leads_back),
            led_elsewhere=self.led_elsewhere.at[rows, last].max(seen & ~leads_back),
        )


def nothing_known(num_problems: int, num_actions: int) -> Inverses:
    """Returns what is known before a search."""
    none = jnp.zeros((num_problems, num_actions, num_actions), bool)
    return Inverses(led_back=none, led_elsewhere=none)
