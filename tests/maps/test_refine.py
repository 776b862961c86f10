"""Grey levels move a map towards what they say, near the box alone."""

from __future__ import annotations

import numpy as np

from flipagents.maps.geometry import ellipse
from flipagents.maps.refine import refine
from flipagents.metrics import dice
from flipenv.types import Box

BOX = Box(40, 50, 90, 130)
SHAPE = (140, 190)


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dark rectangle, its mask, and a map that knows of an ellipse in its box alone."""
    noise = np.random.default_rng(3).normal(0, 12, SHAPE)
    truth = np.zeros(SHAPE, bool)
    truth[BOX.rows, BOX.columns] = True
    image = np.clip(np.where(truth, 60, 140) + noise, 0, 255).astype(np.uint8)
    return image, truth, np.where(ellipse(BOX, SHAPE), 0.9, 0.35).astype(np.float32)


def test_dark_corners_join_a_dark_nodule() -> None:
    image, truth, seen = scene()
    refined = refine(seen, image, BOX)
    assert refined.dtype == np.float32
    assert dice(refined > 0.5, truth) > dice(seen > 0.5, truth) + 0.03
    assert ((refined >= 0) & (refined <= 1)).all()


def test_weight_and_reach() -> None:
    image, _, seen = scene()
    np.testing.assert_allclose(refine(seen, image, BOX, weight=0), seen, atol=1e-6)
    changed = np.nonzero(refine(seen, image, BOX) != seen)
    assert changed[0].min() >= 20
    assert changed[1].max() < 150
    most = np.abs(np.log(refine(seen, image, BOX) / (1 - refine(seen, image, BOX))) - np.log(seen / (1 - seen))).max()
    assert most <= 0.5 * 2 + 1e-4


def test_a_flat_image_says_nothing() -> None:
    seen = np.random.default_rng(0).random(SHAPE, np.float32) * 0.98 + 0.01
    np.testing.assert_allclose(refine(seen, np.full(SHAPE, 90, np.uint8), BOX), seen, atol=1e-4)
