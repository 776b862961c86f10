"""Polar boundary: the closed path around the box's centre where dark turns to bright, found by dynamic programming.

The image is resampled to polar coordinates of the inscribed ellipse. At every angle and radius the edge strength is the
mean grey level just outside minus that just inside; a path costs for leaving a guide (the inscribed ellipse, or a
tilted one that touches the box's four sides), for jumps, and for weak edges. The cheapest path of each guide is
stretched until it touches the four sides; the masks of all guides are averaged, cheaper paths weighing more. Nothing is
learned.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipenv.types import Box

RADII = np.linspace(0.3, 1.5, 96)  # in radii of the ellipse
ANGLES = np.arange(128) * (2 * np.pi / 128)
TILTS = (-0.6, -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45, 0.6)
PULLS = (150.0, 250.0, 400.0, 600.0)
JUMP = 3  # radial steps from one angle to the next, at most


def polar(image: NDArray[np.uint8], box: Box, **options: object) -> NDArray[np.bool_]:
    """Mask (height, width) bool: where `polar_probability` with the same options exceeds a half."""
    return polar_probability(image, box, **options) > 0.5  # type: ignore[arg-type]


def polar_probability(
    image: NDArray[np.uint8],
    box: Box,
    *,
    tilts: ArrayLike = TILTS,
    pulls: ArrayLike = PULLS,
    blur: float = 2.0,
    reach: int = 16,
    stiffness: float = 1.0,
    softness: float = 5.0,
    touch: bool = True,
) -> NDArray[np.float32]:
    """Share of paths around each pixel, (height, width) float32, 0..1; one path: `tilts=0, pulls=400, touch=False`.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        tilts: the guides, given by the row-column correlation of each ellipse, between -1 and 1; 0 is upright.
        pulls: costs in grey levels of leaving the guide, times the squared distance in its radii; averaged over.
        blur: sigma of the Gaussian that smooths the image, px.
        reach: radial steps (80 per radius of the ellipse) on each side of an edge over which grey levels are averaged.
        stiffness: cost in grey levels of a jump by one radial step from one angle to the next; quadratic.
        softness: extra cost in grey levels over the cheapest path at which a path's weight falls to 1/e.
        touch: stretch each path about the centre until it touches the box's sides; for boxes known to be tight.
    """
    half = np.array([box.height, box.width]) / 2
    middle = np.array([box.top + box.bottom - 1, box.left + box.right - 1]) / 2
    direction = np.stack([np.sin(ANGLES), np.cos(ANGLES)], axis=1)
    points = middle + half * direction[:, None] * RADII[:, None]
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), blur)
    rows, columns = points.astype(np.float32).transpose(2, 0, 1)
    unrolled = cv2.remap(smooth, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    tilt = np.atleast_1d(tilts)[:, None]
    guides = np.sqrt((1 - tilt**2) / (1 - tilt * np.sin(2 * ANGLES)))
    away = (RADII - guides[:, :, None]) ** 2
    pull = np.atleast_1d(pulls)[:, None, None, None]
    cost = (pull * away - edges(unrolled.astype(np.float32, copy=False), reach)).reshape(-1, len(ANGLES), len(RADII))
    paths = closed_paths(cost, stiffness)
    price = np.take_along_axis(cost, paths[:, :, None], axis=2).mean(axis=(1, 2)).reshape(-1, len(tilt))
    weights = np.exp((price.min(axis=1, keepdims=True) - price) / softness)
    weights /= weights.sum(axis=1, keepdims=True)
    corners = half * direction * RADII[paths, None]  # (paths, angles, 2)
    if touch:
        most, least = corners.max(axis=1, keepdims=True), corners.min(axis=1, keepdims=True)
        corners *= np.where(corners > 0, half / most, half / -least)
    sixteenths = np.rint((middle + corners) * 16).astype(np.int32)
    origin = np.maximum(sixteenths.min(axis=(0, 1)) // 16 - 1, 0)
    end = sixteenths.max(axis=(0, 1)) // 16 + 2
    share = np.zeros(image.shape, np.float32)
    part = share[origin[0] : end[0], origin[1] : end[1]]  # reachable by paths
    for outline, weight in zip(sixteenths - 16 * origin, weights.ravel() / len(price), strict=True):
        mask = np.zeros(part.shape, np.uint8)
        cv2.fillPoly(mask, [outline[:, ::-1]], 1, shift=4)
        part += np.float32(weight) * mask
    return share


def edges(unrolled: NDArray[np.floating], reach: int) -> NDArray[np.float64]:
    """Mean of up to `reach` values beyond each radius minus mean of up to `reach` values within it, (angles, radii)."""
    radii = unrolled.shape[1]
    total = np.pad(np.cumsum(unrolled, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    here = np.arange(radii)
    start, stop = np.maximum(here - reach, 0), np.minimum(here + 1 + reach, radii)
    within = (total[:, here + 1] - total[:, start]) / (here + 1 - start)
    beyond = (total[:, stop] - total[:, here]) / (stop - here)
    return beyond - within


def closed_paths(cost: NDArray[np.floating], stiffness: float) -> NDArray[np.intp]:
    """Radius at each angle, (n, angles), of the cheapest path on each `cost` (n, angles, radii).

    A jump between neighbouring angles costs stiffness * steps². The path makes two turns, of which the middle one is
    kept: this closes it in all but contrived cases.
    """
    n, angles, radii = cost.shape
    steps = np.arange(-JUMP, JUMP + 1)
    price = stiffness * steps.astype(float) ** 2
    # paths on the last axis, so that additions are contiguous; the padding is never the cheapest
    layers = np.ascontiguousarray(cost.transpose(1, 2, 0), np.float64)
    best = np.full((2 * angles, JUMP + radii + JUMP, n), np.inf)
    best[0, JUMP:-JUMP] = layers[0]
    option = np.empty((radii, n))
    for turn in range(1, 2 * angles):
        last, new = best[turn - 1], best[turn, JUMP:-JUMP]
        np.add(last[JUMP:-JUMP], price[JUMP], out=new)
        for step in range(1, JUMP + 1):  # inwards and outwards cost the same
            np.minimum(last[JUMP - step : JUMP - step + radii], last[JUMP + step : JUMP + step + radii], out=option)
            option += price[JUMP + step]
            np.minimum(new, option, out=new)
        new += layers[turn % angles]
    path = np.zeros((2 * angles, n), np.intp)
    path[-1] = best[-1, JUMP:-JUMP].argmin(axis=0)
    each = np.arange(n)
    for turn in range(2 * angles - 1, 0, -1):
        options = best[turn - 1, path[turn] + JUMP + steps[:, None], each] + price[:, None]
        path[turn - 1] = path[turn] + steps[options.argmin(axis=0)]
    middle = np.roll(path[angles // 2 : angles // 2 + angles], angles // 2, axis=0)
    return middle.T
