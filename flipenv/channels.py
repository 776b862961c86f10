"""Observation channels computed once from canvas and box, when an episode is prepared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipenv.pixels import Grey
from flipenv.registry import Registry
from flipenv.types import Box

Channel: TypeAlias = Callable[[Grey, Box], Grey]  # canvas (H, W), box on it -> picture (H, W)
CHANNELS: Registry[Channel] = Registry("observation channel")

ELLIPSE_REACH = 2.0  # ellipse radii at which the distance map reaches white


def elliptic_radius(rows: NDArray[np.integer], columns: NDArray[np.integer], box: Box) -> NDArray[np.float64]:
    """Distance of pixels from the box's centre in radii of its inscribed ellipse; rows and columns broadcast."""
    down = (rows + 0.5 - (box.top + box.bottom) / 2) / (box.height / 2)
    right = (columns + 0.5 - (box.left + box.right) / 2) / (box.width / 2)
    radius: NDArray[np.float64] = np.hypot(down, right)
    return radius


@CHANNELS.register("box")
def inside_box(canvas: Grey, box: Box) -> Grey:
    """255 inside the box, 0 outside."""
    picture = np.zeros_like(canvas)
    picture[box.rows, box.columns] = 255
    return picture


@CHANNELS.register("ellipse")
def ellipse(canvas: Grey, box: Box) -> Grey:
    """Elliptic distance from the box's centre: 0 there, about 128 on the inscribed ellipse, 255 at twice its radii."""
    radius = elliptic_radius(np.arange(canvas.shape[0])[:, None], np.arange(canvas.shape[1])[None, :], box)
    picture: Grey = np.rint(255 * np.clip(radius / ELLIPSE_REACH, 0, 1)).astype(np.uint8)
    return picture
