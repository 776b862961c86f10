"""Find the tight box of a nodule again in the next frame, where its place and its size are a little off.

`flipagents.maps.locate` finds the place of a box of the right size. Here the size is found too, from a map that is not
held to the box: the mean of the locator network's and of the share of polar boundaries (`flipagents.maps.polar`) that
enclose a pixel, with paths that leave the ellipse cheaply and need not touch the box. Each alone loses more films: the
network drifts, and the boundaries jump to other edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.mapper import Mapper
from flipagents.maps.polar import polar_probability
from flipagents.maps.tidy import tidy
from flipenv.pixels import Grey
from flipenv.sources import tight_box
from flipenv.types import Box

# Tuned on phantom films from seed 100 on and on boxes 10 px too large, 5 px too small and 8 px shifted, BUSI split val.
PULLS = (25.0, 50.0, 100.0)  # as those of `polar_probability`, which are 150 and more for tight boxes
MOST = 0.25  # of the box's sides, farthest that a user's box may lie from where this finds it
KEPT = 0.8  # of that distance, moved in later frames: no frame is quite like the user's
LEAST = 6  # px, side of a box


class Seeker:
    """Sees nodules in boxes that may be off.

    locator: network of a pipeline for boxes that may be off (its view is `loose`); None for boundaries alone, which
    follow a little worse.
    """

    def __init__(self, locator: Mapper | None = None) -> None:
        self.locator = locator

    def __call__(self, image: Grey, box: Box) -> NDArray[np.float32]:
        """How likely each pixel is nodule, (height, width) float32 in 0..1, for a box that may be off."""
        ruled = polar_probability(image, box, pulls=PULLS, touch=False)
        if self.locator is None:
            return ruled
        return (ruled + next(iter(self.locator.maps([image], [box])))) / np.float32(2)

    def box(self, image: Grey, box: Box) -> Box:
        """The tight box of the nodule that is seen; the same box if none is."""
        nodule = tidy(self(image, box) > 0.5)
        return tight_box(nodule) if nodule.any() else box


class Follower:
    """Carries a box from frame to frame.

    What the seeker makes of the user's box, on the user's frame, tells by how much each side of what it finds must be
    moved: spicules that it cuts off, or margins that the user leaves, keep most of their share of the box's sides.
    """

    def __init__(self, seeker: Seeker, image: Grey, box: Box) -> None:
        self.seeker = seeker
        found = seeker.box(image, box)
        shares = (np.array(box) - np.array(found)) / _sides(found)
        self.shares = KEPT * np.clip(shares, -MOST, MOST)

    def box(self, image: Grey, last: Box) -> Box:
        """The box in a frame (height, width), from the last one; inside the image, and at least LEAST px wide."""
        found = self.seeker.box(image, last)
        top, left, bottom, right = np.rint(np.array(found) + self.shares * _sides(found)).astype(int).tolist()
        (top, bottom), (left, right) = _span(top, bottom, image.shape[0]), _span(left, right, image.shape[1])
        return Box(top, left, bottom, right)


def _sides(box: Box) -> NDArray[np.float64]:
    """Height and width, for each of the four sides."""
    return np.array([box.height, box.width, box.height, box.width], np.float64)


def _span(low: int, high: int, size: int) -> tuple[int, int]:
    """A range within 0..size, at least LEAST long where there is room."""
    low = min(max(low, 0), max(size - LEAST, 0))
    return low, min(max(high, low + LEAST), size)
