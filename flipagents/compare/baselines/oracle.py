"""The upper bound for agents on given superpixels: erase every superpixel that is more than half nodule.

The method `oracle` reads the true masks, so it is for evaluations only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.learn.fixed import mostly_nodule
from flipenv.config import EnvConfig
from flipenv.episode import mask_on_image, prepare
from flipenv.errors import MaskError
from flipenv.types import Case


class Oracle:
    """Best masks on the environment's superpixels; MaskError for a case without a mask.

    weights, device: ignored. cell_area: px² per superpixel.
    """

    sees_masks = True

    def __init__(
        self, weights: Path | None = None, device: str = "cpu", *, cell_area: float = EnvConfig.cell_area
    ) -> None:
        self.config = EnvConfig(cell_area=cell_area)

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case; empty if no superpixel is more than half nodule."""
        return [self._mask(case) for case in cases]

    def _mask(self, case: Case) -> NDArray[np.bool_]:
        if case.mask is None:
            raise MaskError(f"case {case.id!r} has no mask, which the method 'oracle' reads; omit the method")
        episode = prepare(Case(case.image, case.box), self.config)
        erased = mostly_nodule(episode, case.mask, self.config.canvas)
        return mask_on_image((episode.labels >= 0) & erased[episode.labels], episode.geometry)
