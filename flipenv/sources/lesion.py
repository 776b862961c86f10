"""The lesion in a mask, and its tight box."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.errors import MaskError
from flipenv.types import Box


def largest_component(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the largest 8-connected component of a (height, width) mask as bool; on a tie, the first in reading order.

    Raises MaskError if the mask is empty.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)
    if count < 2:
        raise MaskError("mask is empty (no pixel is set); expected a lesion: draw it, or give a box without a mask")
    component: NDArray[np.bool_] = labels == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return component


def tight_box(mask: NDArray[Any]) -> Box:
    """Return the tight box of a (height, width) mask; MaskError if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise MaskError("mask is empty (no pixel is set): it has no tight box")
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
