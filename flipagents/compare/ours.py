"""Our own methods: the agents, the student, the prior alone, and the search for a box that may be off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.contour import Contour
from flipagents.maps.tidy import tidy
from flipagents.segment.loading import load_student
from flipenv.types import Case


class ContourMethod:
    """The prior alone as a method (see `flipagents.compare.methods`): where it is more than half certain, tidied."""

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        self.prior = Contour(load_student("contour", weights, device, runtime))
        self.runtime = self.prior.network.runtime

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask a case."""
        return [tidy(self.prior(case.image, case.box) > 127) for case in cases]
