"""Fixed-size square crops around a box, for networks that take the whole nodule as input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.types import Box

SIZE = 64  # crop px, height and width
STRETCHED = 1.4  # of the box, per axis: the inscribed ellipse always becomes the same circle
SQUARE, ROOM = 1.1, 60.0  # of the box's long side, and image px: contains a nodule offset by up to half of ROOM
NEAR = 30.0  # image px, unit of distances from the box

View: TypeAlias = Literal["tight", "loose"]
Picture: TypeAlias = NDArray[np.float32]
N_INPUTS = {"tight": 3, "loose": 5}


@dataclass(frozen=True)
class Crop:
    """The rectangle of an image shown by a crop (SIZE, SIZE); it may extend beyond the image."""

    top: float  # image px, outer edge
    left: float
    height: float  # image px
    width: float

    @classmethod
    def around(cls, box: Box, view: View) -> Crop:
        """The crop for a box: `tight` for tight boxes, `loose` for boxes that may be off."""
        if view == "tight":
            height, width = STRETCHED * box.height, STRETCHED * box.width
        else:
            height = width = SQUARE * max(box.height, box.width) + ROOM
        return cls((box.top + box.bottom - height) / 2, (box.left + box.right - width) / 2, height, width)

    def moved(self, rows: float, columns: float, zoom: float) -> Crop:
        """The crop shifted by shares of its height and width, and scaled by the factor `zoom` about its centre."""
        height, width = self.height * zoom, self.width * zoom
        top = self.top + rows * self.height - (height - self.height) / 2
        left = self.left + columns * self.width - (width - self.width) / 2
        return replace(self, top=top, left=left, height=height, width=width)

    def cut(self, picture: NDArray[Any], border: int = cv2.BORDER_REPLICATE) -> Picture:
        """Resample a picture (height, width), uint8 or float, to the crop (SIZE, SIZE) float32, with anti-aliasing."""
        per_row, per_column = self.height / SIZE, self.width / SIZE
        reach = np.ceil([2 * per_row + 2, 2 * per_column + 2]).astype(int)  # of the smoothing
        (first, last), (start, stop) = (
            _span(origin - near, origin + length + near, size)
            for origin, length, near, size in zip(
                (self.top, self.left), (self.height, self.width), reach, picture.shape, strict=True
            )
        )
        part = np.ascontiguousarray(picture[first:last, start:stop], np.float32)
        smooth = cv2.GaussianBlur(
            part, (0, 0), sigmaX=_sigma(per_column), sigmaY=_sigma(per_row), borderType=cv2.BORDER_REPLICATE
        )
        matrix = np.array(
            [
                [per_column, 0, self.left + per_column / 2 - 0.5 - start],
                [0, per_row, self.top + per_row / 2 - 0.5 - first],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(smooth, matrix, (SIZE, SIZE), flags=flags, borderMode=border), np.float32)

    def put(self, crop: Picture, shape: tuple[int, ...]) -> Picture:
        """Resample a crop (SIZE, SIZE) to an image of `shape` (height, width), 0 outside the crop."""
        per_row, per_column = self.height / SIZE, self.width / SIZE
        matrix = np.array(
            [
                [per_column, 0, self.left + per_column / 2 - 0.5],
                [0, per_row, self.top + per_row / 2 - 0.5],
            ]
        )
        return np.asarray(cv2.warpAffine(crop, matrix, shape[::-1], flags=cv2.INTER_LINEAR), np.float32)


def inputs(image: NDArray[np.uint8], box: Box, crop: Crop, view: View) -> Picture:
    """Network inputs, (N_INPUTS[view], SIZE, SIZE) float32.

    Grey levels, standardised over the crop; distance from the box's centre in radii of its ellipse, minus 1, clipped at
    1; log of the box's aspect ratio. Loose also: signed distance from the box's edge, negative inside, in units of 30
    image px, clipped to -2..2; log of the image px per crop pixel.
    """
    grey = crop.cut(image)
    rows, columns = (
        origin + (np.arange(SIZE, dtype=np.float32) + 0.5) * (length / SIZE)
        for origin, length in ((crop.top, crop.height), (crop.left, crop.width))
    )
    down = np.abs(rows - (box.top + box.bottom) / 2)[:, None]
    across = np.abs(columns - (box.left + box.right) / 2)
    planes = [
        (grey - grey.mean()) / max(float(grey.std()), 1.0),
        np.minimum(np.hypot(down / (box.height / 2), across / (box.width / 2)) - 1, 1),
        np.full_like(grey, np.log(box.height / box.width)),
    ]
    if view == "loose":
        planes += [
            np.clip(np.maximum(down - box.height / 2, across - box.width / 2) / NEAR, -2, 2),
            np.full_like(grey, np.log(crop.height / SIZE)),
        ]
    return np.stack(planes).astype(np.float32)


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    """Range of existing whole pixels from `low` to `high`, at least one."""
    first = min(max(int(np.floor(low)), 0), size - 1)
    return first, max(min(int(np.ceil(high)), size), first + 1)


def _sigma(scale: float) -> float:
    """Sigma in image px of the anti-aliasing Gaussian for sampling every `scale` px."""
    return max(0.5 * scale, 1e-3) if scale > 1 else 1e-3
