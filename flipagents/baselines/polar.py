"""Polar boundary: the closed path around the box's centre where dark turns to bright, found by dynamic programming.

The picture is unrolled around the inscribed ellipse. For every angle and radius the edge strength is the mean grey level
just outside minus that just inside; the path maximises its sum, pays for leaving the ellipse and for jumps, and ends
where it began. Nothing is learned.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.types import Box


def polar(
    image: NDArray[np.uint8],
    box: Box,
    *,
    angles: int = 128,
    radii: int = 96,
    nearest: float = 0.45,
    farthest: float = 1.40,
    blur: float = 2.0,
    reach: int = 16,
    pull: float = 200.0,
    stiffness: float = 1.0,
    jump: int = 3,
) -> NDArray[np.bool_]:
    """Mask (height, width) bool of the darkest-inside, brightest-outside star shape around the ellipse in the box.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        angles: directions around the centre.
        radii: steps between `nearest` and `farthest`, which are in radii of the ellipse.
        nearest: least radius of the boundary.
        farthest: largest radius of the boundary.
        blur: standard deviation of the Gaussian that smooths the image, px.
        reach: radial steps on each side of the boundary whose mean grey levels are compared.
        pull: price in grey levels of leaving the ellipse, times the squared distance in its radii.
        stiffness: price in grey levels of a jump by one radial step from one angle to the next; quadratic.
        jump: largest such jump, in radial steps.
    """
    radius = np.linspace(nearest, farthest, radii)
    angle = np.arange(angles) * (2 * np.pi / angles)
    middle = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    rows = middle[0] + box.height / 2 * np.sin(angle)[:, None] * radius
    columns = middle[1] + box.width / 2 * np.cos(angle)[:, None] * radius
    smooth = cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32)
    unrolled = cv2.remap(
        smooth, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    cost = pull * (radius - 1) ** 2 - edges(unrolled, reach)
    path = closed_path(cost, stiffness, jump)
    corners = np.stack([np.take_along_axis(grid, path[:, None], 1)[:, 0] for grid in (columns, rows)], axis=1)
    mask = np.zeros(image.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)
    return mask > 0


def edges(unrolled: NDArray[np.floating], reach: int) -> NDArray[np.float64]:
    """Mean of up to `reach` values outside each radius minus that of up to `reach` values inside it, (angles, radii)."""
    radii = unrolled.shape[1]
    total = np.pad(np.cumsum(unrolled, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    here = np.arange(radii)
    start, stop = np.maximum(here - reach, 0), np.minimum(here + 1 + reach, radii)
    inside = (total[:, here + 1] - total[:, start]) / (here + 1 - start)
    outside = (total[:, stop] - total[:, here]) / (stop - here)
    return outside - inside


def closed_path(cost: NDArray[np.floating], stiffness: float, jump: int) -> NDArray[np.intp]:
    """Cheapest radius for each angle, (angles,), of `cost` (angles, radii) plus stiffness * step² between neighbours.

    Steps are at most `jump`. The angles are walked three times around and the middle turn is kept, which closes the path
    in all but contrived cases.
    """
    angles, radii = cost.shape
    steps = np.arange(-jump, jump + 1)
    price = (stiffness * steps.astype(float) ** 2)[:, None]
    best = cost[0].astype(float)
    origin = np.zeros((3 * angles, radii), np.intp)
    for turn in range(1, 3 * angles):
        padded = np.pad(best, jump, constant_values=np.inf)
        options = np.stack([padded[jump + step : jump + step + radii] for step in steps]) + price
        choice = options.argmin(axis=0)
        origin[turn] = np.arange(radii) + steps[choice]
        best = options[choice, np.arange(radii)] + cost[turn % angles]
    path = np.zeros(3 * angles, np.intp)
    path[-1] = best.argmin()
    for turn in range(3 * angles - 1, 0, -1):
        path[turn - 1] = origin[turn, path[turn]]
    return path[angles : 2 * angles]
