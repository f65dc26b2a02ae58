"""Targets from an exponential moving average of the encoder."""

import dataclasses
from typing import Any

import optax

from jepa.objectives.base import Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class EMATarget(Target):
    """Targets come from a slow copy of the encoder: theta' <- decay theta' + (1 - decay) theta.

    Source: BYOL (Grill et al., 2020), equation 1; used by I-JEPA and V-JEPA.
    """

    decay: float = 0.99
    """Share of the old average that each update keeps."""

    def init(self, encoder_params: Any) -> Any:
        """See base class; the state is the slow copy."""
        return encoder_params

    def params(self, encoder_params: Any, state: Any) -> Any:
        """See base class."""
        return state

    def update(self, encoder_params: Any, state: Any) -> Any:
        """See base class."""
        return optax.incremental_update(encoder_params, state, 1.0 - self.decay)
