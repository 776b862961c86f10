"""The same image as stored elsewhere: what may change, and what may not."""

from __future__ import annotations

import numpy as np

from flipagents.maps.scanner import as_stored_elsewhere
from flipenv.types import Box, Case


def test_resolution_and_range_change_but_not_the_place() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(60, 90, (180, 260)).astype(np.uint8)
    image[60:120, 100:200] -= 40
    case = Case(image, Box(60, 100, 120, 200))
    seen = [as_stored_elsewhere(case, np.random.default_rng(seed)) for seed in range(12)]
    for other in seen:
        assert other.image.shape == image.shape
        assert other.image.dtype == np.uint8
        assert other.box == case.box
        inside = other.image[64:116, 104:196].mean()
        assert inside + 80 < other.image[:50].mean(), "the dark place is where it was, and the range is wider"
        assert other.image.min() == 0
        assert other.image.max() == 255
    fine = [float(np.abs(np.diff(other.image[:50].astype(float))).mean()) for other in seen]
    assert max(fine) > 2 * min(fine), "some lose their speckle"
    again = as_stored_elsewhere(case, np.random.default_rng(3))
    np.testing.assert_array_equal(again.image, seen[3].image)


def test_one_grey_level_stays_one() -> None:
    flat = Case(np.full((40, 30), 7, np.uint8), Box(5, 5, 20, 20))
    assert not as_stored_elsewhere(flat, np.random.default_rng(0)).image.std()
