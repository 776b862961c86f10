"""Find the tight box of a nodule from one that may be off: its size is right, its place is not."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.maps.geometry import ellipse
from flipagents.maps.mapper import Mapper
from flipenv.types import Box

GOOD = 0.99  # places at which the ellipse collects this share of the most are averaged


def relocate(student: Mapper, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Box], margin: int) -> list[Box]:
    """Boxes of the same size, each moved by at most `margin` image px a side to where the student sees the nodule."""
    maps = student.maps(images, boxes)
    return [best_place(seen, box, margin) for seen, box in zip(maps, boxes, strict=True)]


def best_place(seen: NDArray[np.float32], box: Box, margin: int) -> Box:
    """Move a box to where its inscribed ellipse collects most of a map (height, width) float32 in 0..1.

    The middle of all places that are nearly as good is taken. It moves by at most `margin` px down and across, and
    stays inside the image.
    """
    up, left = min(margin, box.top), min(margin, box.left)
    down, right = min(margin, seen.shape[0] - box.bottom), min(margin, seen.shape[1] - box.right)
    part = seen[box.top - up : box.bottom + down, box.left - left : box.right + right]
    shape = ellipse(Box(0, 0, box.height, box.width), (box.height, box.width)).astype(np.float32)
    collected = cv2.matchTemplate(np.ascontiguousarray(part), shape, cv2.TM_CCORR)  # (up + down + 1, left + right + 1)
    if collected.max() <= 0:
        return box
    rows, columns = np.nonzero(collected >= GOOD * collected.max())
    top, start = box.top - up + round(float(rows.mean())), box.left - left + round(float(columns.mean()))
    return Box(top, start, top + box.height, start + box.width)
