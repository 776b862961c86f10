"""The data types of the package: frozen, batch first, each field with its shape.

Axes: B episodes, A agents, S superpixels (padded), T steps per traversal (padded), H and W canvas rows and columns,
K intensity bins (256), P window side, C channels, M prepared channels, F frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from flipenv.checks import check_box, check_companion, check_image
from flipenv.errors import BoxError

Array: TypeAlias = Any  # any array of the Python array API standard: NumPy, torch, array_api_strict


class Box(NamedTuple):
    """A half-open box in pixels: rows top..bottom-1 and columns left..right-1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def rows(self) -> slice:
        """Slice of the box's rows."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Slice of the box's columns."""
        return slice(self.left, self.right)

    def mirrored(self, width: int) -> Box:
        """The same box on the image, `width` px wide, flipped left to right."""
        return Box(self.top, width - self.right, self.bottom, width - self.left)

    @classmethod
    def from_xyxy(cls, x0: int, y0: int, x1: int, y1: int) -> Box:
        """Box from corners x0, y0, x1, y1 (columns first, half-open)."""
        return cls(y0, x0, y1, x1)

    @classmethod
    def from_coco(cls, x: float, y: float, width: float, height: float) -> Box:
        """Box from COCO's x, y, width, height, which may be fractional; see `covering`."""
        return cls.covering(y, x, y + height, x + width)

    @classmethod
    def covering(cls, top: float, left: float, bottom: float, right: float) -> Box:
        """Half-open box of the pixels that fractional sides cover by half or more; pixel 0 spans 0 to 1.

        Half, so that a box keeps its size wherever it lies, and hand-drawn boxes have the intended size on average;
        with a tolerance of a thousandth of a pixel, since percentages of an image are not exact. Sides that enclose
        nothing give an empty box. BoxError if a side is not finite.
        """
        sides = (top, left, bottom, right)
        if not all(math.isfinite(side) for side in sides):
            raise BoxError(f"box {sides} has a side that is not a finite number")
        (first_row, end_row), (first_column, end_column) = _halves(top, bottom), _halves(left, right)
        return cls(first_row, first_column, end_row, end_column)


def _halves(low: float, high: float) -> tuple[int, int]:
    """First pixel that low..high covers by half or more, and the one after the last."""
    low, high = round(low, 3), round(high, 3)
    if low >= high:
        return math.floor(low), math.floor(high)
    return math.ceil(low - 0.5), math.floor(high + 0.5)


@dataclass(frozen=True, eq=False)
class Case:
    """One image with the box around its nodule; sources yield cases.

    Only evaluation reads the mask: no agent, reward or classifier of this package sees it.

    Raises ImageError, BoxError or MaskError (see `flipenv.errors`) if the parts do not match.
    """

    image: Array  # (height, width) uint8, grey levels 0..255
    box: Box  # in pixels of the image
    id: str = "case"
    mask: Array | None = None  # (height, width) bool, the nodule; None if there is none
    background: Array | None = None  # (height, width) uint8, replaces the computed background
    coarse: Array | None = None  # (height, width) bool, an earlier stage's mask, seen by the agents of the next stage
    prior: Array | None = None  # (height, width) uint8, 255 where a method trained without masks is certain of nodule
    meta: Mapping[str, str] = field(default_factory=dict)  # free text for reports: class, split, spacing

    def __post_init__(self) -> None:
        check_image(self.image)
        object.__setattr__(self, "box", Box(*check_box(self.box, self.image.shape)))
        for name in ("mask", "coarse"):
            check_companion(name, getattr(self, name), self.image.shape, "bool")
        for name in ("background", "prior"):
            check_companion(name, getattr(self, name), self.image.shape, "uint8")


@dataclass(frozen=True)
class Geometry:
    """How a canvas maps to its image: it shows `window`, resampled to its own size."""

    window: Box  # image px; may extend beyond the image
    area: Box  # image px that may be erased
    height: int  # image rows
    width: int  # image columns


@dataclass(frozen=True, eq=False)
class Episode:
    """One prepared case: everything that can be computed before the first step."""

    image: Array  # (H, W) uint8
    background: Array  # (H, W) uint8, what an erased pixel shows; equals the image outside the area
    labels: Array  # (H, W) int16, superpixel of each pixel, -1 outside the area
    order: Array  # (A, T) int16, superpixel of each agent at each step of a traversal
    centers: Array  # (S, 2) int16, row and column of each superpixel's centre
    histograms: Array  # (S, K) int32, cumulative count of pixels with grey level <= k in each superpixel
    channels: Array  # (M, H, W) uint8, prepared observation channels in the order of the config
    coarse: Array  # (H, W) uint8, 255 where an earlier stage erased
    prior: Array  # (S,) float32 in [0, 1], mean of the case's prior in each superpixel; 0.5 without one
    deviation_gain: float  # factor on Wasserstein distances; 1 unless intensities are standardised
    area: Box  # canvas pixels that the agents may erase
    box: Box  # the case's box on the canvas
    geometry: Geometry
    id: str

    @property
    def n_superpixels(self) -> int:
        """S."""
        return int(self.centers.shape[0])


@dataclass(frozen=True, eq=False)
class Episodes:
    """A batch of episodes, padded to common S and T; a padded label never matches a pixel."""

    image: Array  # (B, H, W) uint8
    background: Array  # (B, H, W) uint8
    labels: Array  # (B, H, W) int16
    order: Array  # (B, A, T) int16
    centers: Array  # (B, S, 2) int16
    histograms: Array  # (B, S, K) int32
    channels: Array  # (B, M, H, W) uint8
    coarse: Array  # (B, H, W) uint8
    prior: Array  # (B, S) float32
    deviation_gain: Array  # (B,) float64
    steps: Array  # (B,) int32, steps of one traversal
    pixels: Array  # (B,) int32, canvas pixels that may be erased


@dataclass(frozen=True, eq=False)
class State:
    """What changes from step to step."""

    canvas: Array  # (B, H, W) uint8, the image with the current erasures
    erased: Array  # (B, S) bool
    histogram: Array  # (B, K) int64, cumulative count over the original grey levels of all erased pixels
    score: Array  # (B,) float32, nodule score of the canvas; NaN without a scorer
    frames: Array  # (B, F, A, L, P, P) uint8, windows of the last F steps, newest last; L = 1, or 2 with coarse
    step: Array  # (B,) int32, joint steps taken
    here: Array  # (B, A) int16, each agent's superpixel
    terminated: Array  # (B,) bool, the tag flipped
    truncated: Array  # (B,) bool, all traversals used up


@dataclass(frozen=True, eq=False)
class Transition:
    """Result of one joint step."""

    state: State
    reward: Array  # (B, A) float32
    csr: Array  # (B, A) float32, the classification score part of the reward
    idr: Array  # (B, A) float32, the intensity distribution part of the reward
    changed: Array  # (B, A) bool, whether the agent's erase changed anything
