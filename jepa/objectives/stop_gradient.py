"""Stop-gradient targets: the online encoder itself."""

import dataclasses
from typing import Any

from jepa.objectives.base import Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopGradientTarget(Target):
    """Targets come from the encoder that is being trained, without a gradient.

    Source: SimSiam (Chen and He, 2021). On its own it may collapse; a regularizer must hold the latents apart.
    """

    def init(self, encoder_params: Any) -> Any:
        """See base class; there is no state."""
        return ()

    def params(self, encoder_params: Any, state: Any) -> Any:
        """See base class."""
        return encoder_params

    def update(self, encoder_params: Any, state: Any) -> Any:
        """See base class."""
        return ()
