"""Which pixels of a mask are the lesion, and which box is tight around them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.errors import MaskError
from flipenv.types import Box


def largest_component(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the largest 8-connected component of a (height, width) mask as bool; the first in reading order on a tie.

    Raises MaskError when the mask is empty.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)
    if count < 2:
        raise MaskError(
            "mask is empty (no pixel is set); expected a lesion: draw it, or leave the mask out and give a box"
        )
    component: NDArray[np.bool_] = labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return component


def tight_box(mask: NDArray[Any]) -> Box:
    """Return the smallest box that holds every set pixel of a (height, width) mask; MaskError when there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise MaskError("mask is empty (no pixel is set): no box is tight around it")
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
