"""Which pixels a click changes: the superpixel under it, and those beside it that the outline must have missed too.

A click says how far the outline is off: by twice its distance from the outline at the click, and by less the farther
away and the less alike a superpixel is. A superpixel changes if the outline is nearer to it than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv import superpixels
from flipenv.distance import wasserstein
from flipenv.episode import cumulative_histograms
from flipenv.pixels import Grey, Mask
from flipenv.types import Box

FARTHEST = 10.0  # largest distance from the outline, in sizes of the box
Values: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Rule:
    """Constants of the spread; tuned on BUSI's split val by benchmarks/clicks.py."""

    width: float = 0.18  # sigma of the spread at reach 1, share of the box's size (square root of its area)
    deepest: float = 0.25  # largest distance between click and outline that counts, share of that size
    unlike: float = 80.0  # grey levels of Wasserstein distance at which the spread falls to 1/e
    smoothing: float = 0.6  # sigma of the smoothing of the changed outline, in sides of a superpixel


@dataclass(frozen=True, eq=False)
class Cells:
    """Superpixels of an area of the image, and their grey levels."""

    labels: NDArray[np.int16]  # (h, w) of the area
    histograms: NDArray[np.int32]  # (S, K) cumulative

    @classmethod
    def of(cls, part: Grey, cell_area: float) -> Cells:
        """Cut the area's pixels (h, w) uint8 into superpixels of `cell_area` px²; ConfigError as `segment`."""
        labels = superpixels.segment(part, cell_area)
        return cls(labels, cumulative_histograms(part, labels))

    def share(self, chosen: Mask) -> NDArray[np.float64]:
        """Share of each superpixel's pixels that are chosen, (S,)."""
        flat = self.labels.ravel()
        pixels = self.histograms[:, -1]
        return np.asarray(np.bincount(flat, chosen.ravel(), len(pixels)) / pixels)


@dataclass(frozen=True)
class Click:
    """A click in pixels of the area."""

    row: int
    column: int
    erases: bool

    def distance(self, shape: tuple[int, ...]) -> Values:
        """Distance of each pixel from the click, (h, w), px."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        return np.asarray(np.hypot(rows - self.row, columns - self.column), np.float32)


def spread(cells: Cells, mask: Mask, click: Click, earlier: list[Click], box: Box, *, reach: float, rule: Rule) -> Mask:
    """The mask (h, w) bool of the area after a click.

    mask: before it. earlier: clicks whose pixels stay as they are, unless this click is on the same superpixel; between
    a click and an earlier one of the other action, each pixel belongs to the nearer. box: in pixels of the area; a
    click inside it erases nothing outside it.
    """
    labels = cells.labels
    own = labels[click.row, click.column]
    changed = labels == own
    if not reach:
        return np.where(changed, click.erases, mask)
    size = float(np.sqrt(box.height * box.width))
    away = click.distance(mask.shape)
    other = mask != click.erases  # what this action can change
    if other[click.row, click.column]:
        beyond = np.pad(other, 1, constant_values=click.erases).astype(np.uint8)  # outside the area there is no nodule
        gap = cv2.distanceTransform(beyond, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        gap = np.minimum(gap, FARTHEST * size)  # without any outline it is not defined
        depth = min(float(gap[click.row, click.column]), rule.deepest * size)
        gap = gap - (gap[click.row, click.column] - depth)
        likeness = np.exp(-wasserstein(cells.histograms[own], cells.histograms) / rule.unlike)
        push = (1 + reach) * depth * np.exp(-0.5 * (away / (reach * rule.width * size)) ** 2) * likeness[labels]
        changed |= (cells.share(gap < push) > 0.5)[labels]
    live = [each for each in earlier if labels[each.row, each.column] != own]
    for each in live:
        if each.erases != click.erases:
            changed &= away <= each.distance(mask.shape)
    changed &= other
    frame = np.zeros_like(mask)
    frame[box.rows, box.columns] = True
    if click.erases and frame[click.row, click.column]:
        changed &= frame
    changed = _piece(changed, click)
    after = np.where(changed, click.erases, mask)
    kept = np.isin(labels, [own, *(labels[each.row, each.column] for each in live)])
    smooth = _smoothed(after, changed, rule.smoothing * float(np.sqrt(labels.size / len(cells.histograms))))
    smooth &= frame | after
    return np.where(kept, after, smooth)


def _piece(changed: Mask, click: Click) -> Mask:
    """The connected part of `changed` under the click."""
    _, pieces = cv2.connectedComponents(changed.astype(np.uint8), connectivity=4)
    return np.asarray((pieces == pieces[click.row, click.column]) & changed)


def _smoothed(mask: Mask, changed: Mask, sigma: float) -> Mask:
    """Smooth the outline of a mask where it changed."""
    if not changed.any() or sigma <= 0:
        return mask
    near = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(round(2 * sigma), 1)) > 0
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.where(near, blurred > 0.5, mask)
