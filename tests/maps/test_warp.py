"""Image, map and box are bent alike."""

from __future__ import annotations

import numpy as np

from flipagents.maps.geometry import ellipse
from flipagents.maps.warp import warp
from flipagents.metrics import dice
from flipenv.sources import tight_box
from flipenv.types import Box, Case

SHAPE, BOX = (90, 120), Box(25, 30, 65, 95)


def striped() -> Case:
    """Bright outside, dark inside the box's ellipse."""
    image = np.full(SHAPE, 200, np.uint8)
    image[ellipse(BOX, SHAPE)] = 40
    return Case(image, BOX, id="striped")


def test_the_map_still_fits_the_image_and_touches_its_box() -> None:
    case, wanted = striped(), ellipse(BOX, SHAPE).astype(np.float32)
    outlines = []
    for seed in range(12):
        bent, target = warp(case, wanted, 0.3, np.random.default_rng(seed))
        assert target.shape == bent.image.shape
        assert target.dtype == np.float32
        assert bent.mask is None
        nodule = target > 0.5
        assert dice(nodule, bent.image < 120) > 0.97, "image and map were bent apart"
        assert tight_box(nodule) == bent.box
        outlines.append(dice(nodule, ellipse(bent.box, nodule.shape)))
    assert min(outlines) < 0.93, "no outline left its ellipse"
    assert dice(wanted > 0.5, ellipse(BOX, SHAPE)) == 1


def test_nothing_is_bent_by_nothing() -> None:
    case, wanted = striped(), ellipse(BOX, SHAPE).astype(np.float32)
    bent, target = warp(case, wanted, 0.0, np.random.default_rng(0))
    assert (bent.box.height, bent.box.width) == (BOX.height, BOX.width)
    np.testing.assert_array_equal(target[bent.box.rows, bent.box.columns], wanted[BOX.rows, BOX.columns])


def test_a_nodule_that_would_vanish_stays(phantoms: list[Case]) -> None:
    case = phantoms[0]
    nothing = np.zeros(case.image.shape, np.float32)
    same, target = warp(case, nothing, 0.3, np.random.default_rng(0))
    assert same is case
    assert target is nothing


def test_the_same_draw_bends_alike_and_the_image_is_left_alone() -> None:
    case, wanted = striped(), ellipse(BOX, SHAPE).astype(np.float32)
    before = case.image.copy(), wanted.copy()
    (one, first), (other, second) = (warp(case, wanted, 0.3, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(case.image, before[0])
    np.testing.assert_array_equal(wanted, before[1])
