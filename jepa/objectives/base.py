"""The interfaces of objectives: what keeps latents apart, and what the predictor is compared with."""

import abc
import dataclasses
from typing import Any

from jaxtyping import Array, Float, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regularizer(abc.ABC):
    """Keeps latents from collapsing, judged on the batch that all devices hold together."""

    @abc.abstractmethod
    def loss(self, latents: Float[Array, "B D"], key: Key[Array, ""]) -> Float[Array, ""]:
        """Returns the weighted loss of a batch of latents; lower is further from collapse."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(abc.ABC):
    """Which encoder parameters produce the latents that predictions are compared with.

    No gradient flows into targets; anything that evolves lives in the state.
    """

    @abc.abstractmethod
    def init(self, encoder_params: Any) -> Any:
        """Returns the initial state for the given encoder parameters (a pytree)."""

    @abc.abstractmethod
    def params(self, encoder_params: Any, state: Any) -> Any:
        """Returns the parameters to encode targets with."""

    @abc.abstractmethod
    def update(self, encoder_params: Any, state: Any) -> Any:
        """Returns the state after an update of the encoder."""
