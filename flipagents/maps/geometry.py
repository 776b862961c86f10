"""Masks from the box alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flipenv.types import Box


def box_mask(image: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
    """The method `box`: `filled_box` in a mask of the image's shape."""
    return filled_box(box, image.shape)


def ellipse_mask(image: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
    """The method `ellipse`: `ellipse` in a mask of the image's shape."""
    return ellipse(box, image.shape)


def filled_box(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """All pixels of the box, in a mask of `shape` (height, width)."""
    mask = np.zeros(shape, np.bool_)
    mask[box.rows, box.columns] = True
    return mask


def ellipse(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels whose centre is inside the ellipse inscribed in the box, in a mask of `shape` (height, width)."""
    return ellipse_radius(box, shape) <= 1


def ellipse_radius(box: Box, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Distance of each pixel's centre from the box's, in radii of the inscribed ellipse: 1 on the ellipse."""
    rows = (np.arange(shape[0]) + 0.5 - (box.top + box.bottom) / 2) / (box.height / 2)
    columns = (np.arange(shape[1]) + 0.5 - (box.left + box.right) / 2) / (box.width / 2)
    radius: NDArray[np.float64] = np.hypot(rows[:, None], columns[None, :])
    return radius
