"""Find the tight box of a nodule from one of the right size at the wrong place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.maps.geometry import ellipse
from flipagents.maps.mapper import Mapper
from flipenv.types import Box

GOOD = 0.99  # places where the ellipse covers at least this share of the maximum are averaged


def relocate(student: Mapper, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Box], margin: int) -> list[Box]:
    """Boxes of the same size, each moved by at most `margin` image px per axis to where the network sees the nodule."""
    maps = student.maps(images, boxes)
    return [best_place(nodule_map, box, margin) for nodule_map, box in zip(maps, boxes, strict=True)]


def best_place(nodule_map: NDArray[np.float32], box: Box, margin: int) -> Box:
    """Move a box to where its inscribed ellipse covers the largest sum of a map (height, width) float32 in 0..1.

    Takes the mean of all nearly optimal places. The box moves by at most `margin` px per axis and stays inside the
    image.
    """
    up, left = min(margin, box.top), min(margin, box.left)
    down, right = min(margin, nodule_map.shape[0] - box.bottom), min(margin, nodule_map.shape[1] - box.right)
    part = nodule_map[box.top - up : box.bottom + down, box.left - left : box.right + right]
    shape = ellipse(Box(0, 0, box.height, box.width), (box.height, box.width)).astype(np.float32)
    collected = cv2.matchTemplate(np.ascontiguousarray(part), shape, cv2.TM_CCORR)  # (up + down + 1, left + right + 1)
    if collected.max() <= 0:
        return box
    rows, columns = np.nonzero(collected >= GOOD * collected.max())
    top, start = box.top - up + round(float(rows.mean())), box.left - left + round(float(columns.mean()))
    return Box(top, start, top + box.height, start + box.width)
