"""Bend an image and its map together: outlines that no ellipse fits, known as well as the straight one was."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.sources import tight_box
from flipenv.types import Case

KNOTS, SMOOTH = 16, 1.5  # random numbers along each side of the field, and the deviation in knots by which they blur
ROOM = 0.6  # of the box's long side, on each side of it: what of the image is bent
LEAST = 50  # px of the bent nodule; one that shrinks below stays as it was


def warp(
    case: Case, wanted: NDArray[np.float32], amount: float, rng: np.random.Generator
) -> tuple[Case, NDArray[np.float32]]:
    """Return what surrounds a nodule, bent by a smooth random field, as a case with its map.

    wanted: (height, width) float32 in 0..1, the case's map; above a half is nodule, and the new box is tight around its
    largest piece, so that the new map too touches its box and is 0 outside. amount: largest deviation of the field,
    share of the box's sides; the one used is drawn evenly below. The new case has neither mask nor companions.
    """
    box = case.box
    room = int(ROOM * max(box.height, box.width)) + 8
    part = np.s_[box.top : box.bottom + 2 * room, box.left : box.right + 2 * room]
    image = cv2.copyMakeBorder(case.image, room, room, room, room, cv2.BORDER_REFLECT_101)[part]
    seen = cv2.copyMakeBorder(wanted, room, room, room, room, cv2.BORDER_CONSTANT)[part]
    height, width = image.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = (amount * rng.uniform() * side * _field(image.shape, rng) for side in (box.height, box.width))
    x, y = (np.asarray(each, np.float32) for each in (columns + across, rows + down))
    bent = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    nodule = cv2.remap(seen, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if np.count_nonzero(nodule > 0.5) < LEAST:
        return case, wanted
    tight = tight_box(nodule > 0.5)
    target = np.zeros(image.shape, np.float32)
    target[tight.rows, tight.columns] = nodule[tight.rows, tight.columns]
    return Case(np.asarray(bent, np.uint8), tight, id=case.id), target


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random numbers (height, width) of deviation about 1."""
    knots = cv2.GaussianBlur(rng.normal(0, 1, (KNOTS, KNOTS)).astype(np.float32), (0, 0), SMOOTH)
    smooth = cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(knots.std()), 1e-6), np.float32)
