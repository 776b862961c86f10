"""Post-processing of masks: one component, no holes, no thin threads."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.sources import largest_component

KERNEL = 5  # px of the image; the authors' result pictures fit an opening with 5x5


def tidy(mask: NDArray[np.bool_], *, opening: int = 0) -> NDArray[np.bool_]:
    """Open a mask (height, width) bool, fill its holes and keep its largest component; an empty mask stays empty.

    opening: iterations of erosion and dilation with a 5x5 square; skipped if it would leave nothing.
    """
    if not mask.any():
        return mask.copy()
    shape = mask.astype(np.uint8)
    if opening:
        opened = cv2.morphologyEx(shape, cv2.MORPH_OPEN, np.ones((KERNEL, KERNEL), np.uint8), iterations=opening)
        shape = opened.astype(np.uint8) if opened.any() else shape
    piece = largest_component(shape > 0).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(piece, outlines, -1, 1, cv2.FILLED)
    return piece > 0
