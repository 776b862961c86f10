"""What an erased pixel shows: a plausible piece of normal tissue, painted over the area."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from flipenv.pixels import Grey
from flipenv.registry import Registry
from flipenv.types import Box

Background: TypeAlias = Callable[[Grey, Box], Grey]  # image (H, W), area -> (H, W), the image with the area painted

BACKGROUNDS: Registry[Background] = Registry("background")
LEAST_ROOM = 4  # px: a narrower strip holds no texture to copy
LEAST_SHARE = 0.25  # of the area's width: a narrower strip would be repeated until its repeats show
RIM = 5  # px inside the area that are smoothed; measured on the authors' example files
KERNEL = 7  # px, side of the mean filter; measured on the authors' example files


@BACKGROUNDS.register("eq1")
def eq1(image: Grey, area: Box) -> Grey:
    """Eq. 1: the patches beside the area, mixed, with a mean filter along the pasted edge.

    A side with room for the whole width gives the patch by itself, left before right: that is what the authors'
    example files show. Otherwise both patches, mirrored to the full width, are mixed with
    alpha = x / ((w_f + w_g) / 2); a strip narrower than LEAST_ROOM or LEAST_SHARE of the width counts as no room.
    Where neither side has room the same is done with the strips above and below. An area that fills the image is
    painted with the image's median.
    """
    turned, box = _with_room(image, area)
    before, after = _patches(turned, box)
    least, left, right = _least_room(box.width), before.shape[1], after.shape[1]
    patch: npt.NDArray[np.generic]
    if left == box.width or (right < least and left >= right):
        patch = _widen(before, box.width, mirrored=True)
    elif right == box.width or left < least:
        patch = _widen(after, box.width, mirrored=False)
    else:
        alpha = np.clip(np.arange(box.width) / ((left + right) / 2), 0, 1)
        patch = alpha * _widen(before, box.width, mirrored=True)
        patch = patch + (1 - alpha) * _widen(after, box.width, mirrored=False)
    return _smooth_rim(_paste(image, area, patch if turned is image else patch.T), area)


@BACKGROUNDS.register("mirror")
def mirror(image: Grey, area: Box) -> Grey:
    """Both neighbouring strips reflected about the area's edges and cross-faded, so that no edge shows a seam."""
    turned, box = _with_room(image, area)
    before, after = _patches(turned, box)
    if min(before.shape[1], after.shape[1]) >= _least_room(box.width):
        fade = (np.arange(box.width) + 0.5) / box.width
        from_left = _widen(before, box.width, mirrored=False)[:, ::-1]
        from_right = _widen(after, box.width, mirrored=True)[:, ::-1]
        patch: npt.NDArray[np.generic] = (1 - fade) * from_left + fade * from_right
    elif before.shape[1] >= after.shape[1]:
        patch = _widen(before, box.width, mirrored=False)[:, ::-1]
    else:
        patch = _widen(after, box.width, mirrored=True)[:, ::-1]
    return _paste(image, area, patch if turned is image else patch.T)


@BACKGROUNDS.register("inpaint")
def inpaint(image: Grey, area: Box) -> Grey:
    """Telea's fast marching inpainting of the area (doi 10.1080/10867651.2004.10487596): smooth, without speckle."""
    if (area.height, area.width) == image.shape:
        return _paste(image, area, np.full(image.shape, np.median(image)))
    reach = 16  # px of context given to the filter, whose radius is 5 px
    around = (
        slice(max(area.top - reach, 0), area.bottom + reach),
        slice(max(area.left - reach, 0), area.right + reach),
    )
    hole = np.zeros(image.shape, np.uint8)
    hole[area.rows, area.columns] = 255
    painted = image.copy()
    painted[around] = cv2.inpaint(
        np.ascontiguousarray(image[around]), np.ascontiguousarray(hole[around]), 5, cv2.INPAINT_TELEA
    )
    return painted


def _with_room(image: Grey, area: Box) -> tuple[Grey, Box]:
    """The image and area, transposed where only the strips above and below have room to copy from."""
    beside = max(area.left, image.shape[1] - area.right)
    above = max(area.top, image.shape[0] - area.bottom)
    if beside >= _least_room(area.width) or above / area.height <= beside / area.width:
        return image, area
    return image.T, Box(area.left, area.top, area.right, area.bottom)


def _least_room(width: int) -> float:
    return max(LEAST_ROOM, LEAST_SHARE * width)


def _patches(image: Grey, area: Box) -> tuple[Grey, Grey]:
    """The strips directly left and right of the area, same rows, at most as wide as the area.

    Where neither has a column, one column of the image's median stands in for the left one.
    """
    before = image[area.rows, max(area.left - area.width, 0) : area.left]
    after = image[area.rows, area.right : area.right + area.width]
    if before.shape[1] == after.shape[1] == 0:
        before = np.full((area.height, 1), np.median(image), np.uint8)
    return before, after


def _widen(patch: Grey, width: int, *, mirrored: bool) -> Grey:
    """Extend a strip to `width` columns by mirroring it leftwards (`mirrored`) or rightwards."""
    missing = width - patch.shape[1]
    return np.pad(patch, ((0, 0), (missing, 0) if mirrored else (0, missing)), mode="symmetric")


def _paste(image: Grey, area: Box, patch: npt.NDArray[np.generic]) -> Grey:
    painted = image.copy()
    painted[area.rows, area.columns] = np.rint(patch).astype(np.uint8)
    return painted


def _smooth_rim(painted: Grey, area: Box) -> Grey:
    """Mean-filter the outermost pixels of the area, so that the pasted edge does not show as a line."""
    smooth = cv2.blur(painted, (KERNEL, KERNEL))
    core = (slice(area.top + RIM, area.bottom - RIM), slice(area.left + RIM, area.right - RIM))
    result = painted.copy()
    result[area.rows, area.columns] = smooth[area.rows, area.columns]
    if area.height > 2 * RIM and area.width > 2 * RIM:
        result[core] = painted[core]
    return result
