"""Elastic deformation of an image and its map: outlines far from an ellipse, as well known as the original ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.sources import tight_box
from flipenv.types import Case

KNOTS, SMOOTH = 16, 1.5  # random numbers along each side of the field, and the sigma in knots of their blur
ROOM = 0.6  # margin that is deformed on each side of the box, share of its long side
LEAST = 50  # px of the deformed nodule; if it shrinks below, the case is left unchanged


def warp(
    case: Case, target: NDArray[np.float32], amount: float, rng: np.random.Generator
) -> tuple[Case, NDArray[np.float32]]:
    """Return a nodule's surroundings, deformed by a smooth random field, as a case with its map.

    target: (height, width) float32 in 0..1, the case's map; above 0.5 is nodule, and the new box is tight around its
    largest component, so that the new map touches its box and is 0 outside. amount: largest sigma of the field, share
    of the box's sides; the one used is drawn uniformly below it. The new case has neither mask nor companions.
    """
    box = case.box
    room = int(ROOM * max(box.height, box.width)) + 8
    part = np.s_[box.top : box.bottom + 2 * room, box.left : box.right + 2 * room]
    image = cv2.copyMakeBorder(case.image, room, room, room, room, cv2.BORDER_REFLECT_101)[part]
    padded = cv2.copyMakeBorder(target, room, room, room, room, cv2.BORDER_CONSTANT)[part]
    height, width = image.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = (amount * rng.uniform() * side * _field(image.shape, rng) for side in (box.height, box.width))
    x, y = (np.asarray(axis, np.float32) for axis in (columns + across, rows + down))
    bent = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    nodule = cv2.remap(padded, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if np.count_nonzero(nodule > 0.5) < LEAST:
        return case, target
    tight = tight_box(nodule > 0.5)
    target = np.zeros(image.shape, np.float32)
    target[tight.rows, tight.columns] = nodule[tight.rows, tight.columns]
    return Case(np.asarray(bent, np.uint8), tight, id=case.id), target


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random numbers (height, width) of standard deviation about 1."""
    knots = cv2.GaussianBlur(rng.normal(0, 1, (KNOTS, KNOTS)).astype(np.float32), (0, 0), SMOOTH)
    smooth = cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(knots.std()), 1e-6), np.float32)
