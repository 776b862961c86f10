"""Observation channels computed once from canvas and box, when an episode is prepared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from flipenv.pixels import Grey
from flipenv.registry import Registry
from flipenv.types import Box

Channel: TypeAlias = Callable[[Grey, Box], Grey]  # canvas (H, W), box on it -> picture (H, W)
CHANNELS: Registry[Channel] = Registry("observation channel")

ELLIPSE_REACH = 2.0  # ellipse radii at which the distance map reaches white


@CHANNELS.register("box")
def inside_box(canvas: Grey, box: Box) -> Grey:
    """255 inside the box, 0 outside."""
    picture = np.zeros_like(canvas)
    picture[box.rows, box.columns] = 255
    return picture


@CHANNELS.register("ellipse")
def ellipse(canvas: Grey, box: Box) -> Grey:
    """Elliptic distance from the box's centre: 0 there, about 128 on the inscribed ellipse, 255 at twice its radii."""
    rows = (np.arange(canvas.shape[0]) + 0.5 - (box.top + box.bottom) / 2) / (box.height / 2)
    columns = (np.arange(canvas.shape[1]) + 0.5 - (box.left + box.right) / 2) / (box.width / 2)
    radius = np.hypot(rows[:, None], columns[None, :])
    picture: Grey = np.rint(255 * np.clip(radius / ELLIPSE_REACH, 0, 1)).astype(np.uint8)
    return picture
