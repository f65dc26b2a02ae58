"""Trunks: features of all slots of a latent, for predictors, legality and costs that must look at several at once."""

import abc
import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jepa.encoders.attention import AttentionBlock
from jepa.types import require_positive


class TrunkModule(nnx.Module):
    """Latents to features of their slots, or of groups of consecutive slots."""

    num_groups: int
    """G, groups of slots."""
    width: int
    """W, features of each group."""

    def __call__(
        self, latents: Float[Array, "*B D"], context: Float[Array, "*B W"] | None = None
    ) -> Float[Array, "*B G W"]:
        """Returns features; what a context says is added to every group before they are mixed."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk(abc.ABC):
    """Hyper-parameters of a trunk."""

    @abc.abstractmethod
    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> TrunkModule:
        """Creates the module with fresh parameters.

        Raises:
          ValueError: the slots do not have the shape that the trunk was made for.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTrunk(Trunk):
    """Leaves every slot as it is."""

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> TrunkModule:
        """See base class."""
        return _NoTrunk(latent_width, num_slots)


class _NoTrunk(TrunkModule):
    def __init__(self, latent_width: int, num_slots: int):
        self.width, self.num_groups = latent_width // num_slots, num_slots

    def __call__(
        self, latents: Float[Array, "*B D"], context: Float[Array, "*B W"] | None = None
    ) -> Float[Array, "*B G W"]:
        slots = latents.reshape(*latents.shape[:-1], self.num_groups, -1)
        return slots if context is None else slots + context[..., None, :]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionTrunk(Trunk):
    """Attention among all slots, with a learned position each: what matters is asked for, wherever it stands."""

    width: int = 64
    """W, width of the attention blocks."""
    num_blocks: int = 2
    """Number of attention blocks."""
    num_heads: int = 4
    """Attention heads of each block."""
    slots_per_group: int = 1
    """Consecutive slots that attention treats as one, such as the fields of one object."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "width", "num_blocks", "num_heads", "slots_per_group")

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> TrunkModule:
        """See base class."""
        if num_slots % self.slots_per_group:
            raise ValueError(
                f"slots_per_group must divide the number of slots, {num_slots}; got {self.slots_per_group}"
            )
        return _AttentionTrunk(self, latent_width, num_slots // self.slots_per_group, rngs)


class _AttentionTrunk(TrunkModule):
    def __init__(self, config: AttentionTrunk, latent_width: int, num_groups: int, rngs: nnx.Rngs):
        self.width, self.num_groups = config.width, num_groups
        self.input = nnx.Linear(latent_width // num_groups, config.width, rngs=rngs)
        self.positions = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (num_groups, config.width)))
        self.blocks = nnx.List([AttentionBlock(config.width, config.num_heads, rngs) for _ in range(config.num_blocks)])

    def __call__(
        self, latents: Float[Array, "*B D"], context: Float[Array, "*B W"] | None = None
    ) -> Float[Array, "*B G W"]:
        groups = latents.reshape(*latents.shape[:-1], self.num_groups, -1)
        hidden = self.input(groups) + self.positions[...]
        if context is not None:
            hidden = hidden + context[..., None, :]
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvolutionTrunk(Trunk):
    """3x3 convolutions over slots that lie on a grid: what is learned about one place holds at all of them.

    Each block widens by one cell what a cell sees; beyond the border there are zeros, which no slot of a state is.
    """

    rows: int
    """Rows of the grid."""
    width: int = 64
    """W, channels."""
    num_blocks: int = 2
    """Residual blocks, each a 3x3 convolution and a 1x1 convolution."""

    def __post_init__(self):
        """Refuses sizes that cannot be."""
        require_positive(self, "rows", "width", "num_blocks")

    def build(self, *, latent_width: int, num_slots: int, rngs: nnx.Rngs) -> TrunkModule:
        """See base class."""
        if num_slots % self.rows:
            raise ValueError(f"expected slots on a grid of {self.rows} rows, came {num_slots} slots; change `rows`")
        return _ConvolutionTrunk(self, latent_width, num_slots, rngs)


class _ConvolutionTrunk(TrunkModule):
    def __init__(self, config: ConvolutionTrunk, latent_width: int, num_slots: int, rngs: nnx.Rngs):
        self.width, self.num_groups, self.rows = config.width, num_slots, config.rows
        self.input = nnx.Linear(latent_width // num_slots, config.width, rngs=rngs)
        self.blocks = nnx.List([_ConvolutionBlock(config.width, rngs) for _ in range(config.num_blocks)])

    def __call__(
        self, latents: Float[Array, "*B D"], context: Float[Array, "*B W"] | None = None
    ) -> Float[Array, "*B G W"]:
        hidden = self.input(latents.reshape(*latents.shape[:-1], self.num_groups, -1))
        if context is not None:
            hidden = hidden + context[..., None, :]
        grid = hidden.reshape(*latents.shape[:-1], self.rows, -1, self.width)
        for block in self.blocks:
            grid = block(grid)
        return grid.reshape(hidden.shape)


class _ConvolutionBlock(nnx.Module):
    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.neighbours = nnx.Linear(9 * width, width, rngs=rngs)
        self.output = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, grid: Float[Array, "*B R C W"]) -> Float[Array, "*B R C W"]:
        rows, columns = grid.shape[-3:-1]
        padding = [(0, 0)] * (grid.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
        padded = jnp.pad(self.norm(grid), padding)
        # Nine shifted copies and one matrix product: on a CPU far faster than a convolution of so few cells.
        shifted = [padded[..., i : i + rows, j : j + columns, :] for i in range(3) for j in range(3)]
        return grid + self.output(jax.nn.relu(self.neighbours(jnp.concatenate(shifted, axis=-1))))
