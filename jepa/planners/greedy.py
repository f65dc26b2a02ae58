"""Greedy descent: the beam of width one."""

import dataclasses
from typing import ClassVar

from jepa.planners.beam_search import BeamSearch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Greedy(BeamSearch):
    """Always moves to the new latent of lowest predicted cost."""

    compute_axis: ClassVar[str] = ""

    width: int = 1
    """W; one node is kept."""
