"""Lengths relative to the box, so that methods do not depend on the image's scale."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.types import Box


def box_size(box: Box) -> float:
    """Square root of the box's area, px."""
    return float((box.height * box.width) ** 0.5)


def smoothed(image: NDArray[np.uint8], box: Box, blur: float) -> NDArray[np.uint8]:
    """The image (height, width) after a Gaussian with standard deviation `blur` box sizes; unchanged if that is 0."""
    deviation = blur * box_size(box)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.uint8) if deviation else image
