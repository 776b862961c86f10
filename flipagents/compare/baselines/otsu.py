"""Otsu's threshold inside the box: the dark side is the nodule.

N. Otsu, A threshold selection method from gray-level histograms, IEEE Transactions on Systems, Man, and Cybernetics
9(1):62-66, 1979, doi 10.1109/TSMC.1979.4310076. OpenCV's `threshold`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.compare.baselines.smooth import smoothed
from flipagents.maps.tidy import tidy
from flipenv.types import Box


def otsu(image: NDArray[np.uint8], box: Box, *, blur: float = 0.0) -> NDArray[np.bool_]:
    """The largest dark component in the box, holes filled; empty if the box has a single grey level.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        blur: standard deviation of a Gaussian applied first, as a share of the box's size (square root of its area).
    """
    smooth = smoothed(image, box, blur)[box.rows, box.columns]
    mask = np.zeros(image.shape, np.bool_)
    mask[box.rows, box.columns] = ~above_otsu(smooth) & (smooth.min() < smooth.max())
    return tidy(mask)


def above_otsu(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture exceeds its Otsu threshold; nowhere if it has a single grey level."""
    threshold, _ = cv2.threshold(picture, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    above: NDArray[np.bool_] = picture > max(threshold, int(picture.min()))
    return above
