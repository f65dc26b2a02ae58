"""Gradients that are not finite: such an update is skipped and counted, and training stops when it goes on.

One bad batch in a million updates should not cost a run of days. But an update that is let through with NaN in it
destroys the parameters for good, so that none ever is; `optax.apply_if_finite` lets them through after a number of
them, which is why it is not used here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from jepa.types import pytree

MAX_SKIPPED_IN_ROW = 5
"""So many skipped updates one after another end the training: the next ones would not be better."""


@pytree
class SkipState:
    """State of an optimizer that skips, and what it has skipped since the first update of the stage."""

    inner: Any
    """State of the optimizer itself, which a skipped update leaves as it was: its momenta and its learning rate."""
    num_skipped: Int[Array, ""]
    """Skipped updates."""
    num_skipped_in_row: Int[Array, ""]
    """Those since the last good update."""
    most_skipped_in_row: Int[Array, ""]
    """The most that were skipped one after another."""
    bad_leaf: Int[Array, ""]
    """Number of the first leaf whose last skipped gradient or change was not finite; -1 if none was skipped."""


def skip_nonfinite(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns an optimizer that changes nothing when a gradient, or its change, has NaN or infinity anywhere.

    Parameters, momenta and the count of the learning rate stay; batches and random numbers go on, as they are folded
    from the number of the update, which counts skipped ones. So training goes on with the next batch, and a resumed
    run skips what the unbroken one skips.
    """

    def init(params: Any) -> SkipState:
        return SkipState(
            inner=optimizer.init(params),
            num_skipped=jnp.zeros((), jnp.int32),  # An array for each: a buffer cannot be given away twice.
            num_skipped_in_row=jnp.zeros((), jnp.int32),
            most_skipped_in_row=jnp.zeros((), jnp.int32),
            bad_leaf=jnp.full((), -1, jnp.int32),
        )

    def update(gradients: Any, state: SkipState, params: Any = None) -> tuple[Any, SkipState]:
        changes, inner = optimizer.update(gradients, state.inner, params)
        finite = _finite_leaves(gradients) & _finite_leaves(changes)
        is_good = finite.all()
        in_row = jnp.where(is_good, 0, state.num_skipped_in_row + 1)
        return jax.tree.map(lambda change: jnp.where(is_good, change, jnp.zeros_like(change)), changes), SkipState(
            inner=jax.tree.map(lambda new, old: jnp.where(is_good, new, old), inner, state.inner),
            num_skipped=state.num_skipped + ~is_good,
            num_skipped_in_row=in_row,
            most_skipped_in_row=jnp.maximum(state.most_skipped_in_row, in_row),
            bad_leaf=jnp.where(is_good, state.bad_leaf, jnp.argmin(finite).astype(jnp.int32)),
        )

    return optax.GradientTransformation(init, update)


def _finite_leaves(tree: Any) -> Bool[Array, " L"]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)])


def num_skipped(opt_state: Any) -> int:
    """Returns how many updates were skipped; 0 for an optimizer that skips none."""
    return int(opt_state.num_skipped) if isinstance(opt_state, SkipState) else 0


def require_progress(params: Any, opt_state: Any, stage: str, num_updates: int) -> None:
    """Raises ValueError if too many updates were skipped one after another, and names the first bad leaf."""
    if not isinstance(opt_state, SkipState) or opt_state.most_skipped_in_row < MAX_SKIPPED_IN_ROW:
        return
    path = jax.tree_util.tree_flatten_with_path(params)[0][int(opt_state.bad_leaf)][0]
    raise ValueError(
        f"the gradients of stage {stage} were not finite in {int(opt_state.most_skipped_in_row)} updates one after "
        f"another before update {num_updates}, first in {jax.tree_util.keystr(path)}; none of them was applied, and "
        f"the last checkpoint is good. Lower the learning rate and train into another folder"
    )
