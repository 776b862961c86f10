"""Crops: where their pixels lie, what a network sees on them, and back onto the image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flipagents.maps.crops import N_INPUTS, SIZE, SQUARE, STRETCHED, Crop, inputs
from flipagents.maps.geometry import ellipse_radius
from flipenv.types import Box

BOX = Box(40, 30, 88, 110)  # 48 high, 80 wide


def ramp(height: int, width: int) -> np.ndarray:
    """A picture whose value tells where a pixel's centre is: rows + columns / 1000."""
    return (np.arange(height)[:, None] + 0.5 + (np.arange(width) + 0.5) / 1000).astype(np.float32)


def test_where_the_pixels_lie() -> None:
    crop = Crop.around(BOX, "tight")
    assert (crop.height, crop.width) == pytest.approx((STRETCHED * 48, STRETCHED * 80))
    seen = crop.cut(ramp(128, 160))
    rows = 64 + crop.height * ((np.arange(SIZE) + 0.5) / SIZE - 0.5)
    columns = 70 + crop.width * ((np.arange(SIZE) + 0.5) / SIZE - 0.5)
    np.testing.assert_allclose(seen, rows[:, None] + columns / 1000, atol=0.02)
    square = Crop.around(BOX, "loose")
    assert square.height == square.width == pytest.approx(SQUARE * 80 + 60)
    assert (square.top + square.height / 2, square.left + square.width / 2) == pytest.approx((64, 70))


def test_a_coarse_crop_is_smoothed() -> None:
    stripes = np.zeros((480, 640), np.uint8)
    stripes[:, ::2] = 200
    seen = Crop(0, 0, 480, 640).cut(stripes)
    assert np.abs(seen[2:-2, 2:-2] - 100).max() < 2, "sampled without smoothing, stripes would stay or vanish"


def test_beyond_the_image_its_edge_goes_on() -> None:
    picture = np.tile(np.linspace(10, 200, 50).astype(np.uint8), (40, 1))
    seen = Crop(-20, -60, 80, 120).cut(picture)
    np.testing.assert_allclose(seen[:, :20], 10, atol=2)
    assert (Crop(-20, -60, 80, 120).cut(picture, cv2.BORDER_CONSTANT)[:, :20] == 0).all()


def test_there_and_back() -> None:
    shape = (128, 160)
    disc = (ellipse_radius(BOX, shape) <= 1).astype(np.float32)
    crop = Crop.around(BOX, "tight")
    back = crop.put(crop.cut(disc), shape)
    assert back.shape == shape
    assert np.mean((back > 0.5) != (disc > 0.5)) < 0.004
    assert (back[:20] == 0).all()


def test_moved_about_the_middle() -> None:
    crop = Crop(10, 20, 40, 80).moved(0.1, -0.05, zoom=1.5)
    assert crop == Crop(pytest.approx(10 + 4 - 10), pytest.approx(20 - 4 - 20), 60, 120)


@pytest.mark.parametrize("view", ["tight", "loose"])
def test_what_a_network_sees(view: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (128, 160), np.uint8)
    crop = Crop.around(BOX, view)  # type: ignore[arg-type]
    seen = inputs(image, BOX, crop, view)  # type: ignore[arg-type]
    assert seen.shape == (N_INPUTS[view], SIZE, SIZE)
    assert seen.dtype == np.float32
    assert seen[0].mean() == pytest.approx(0, abs=1e-5)
    assert seen[0].std() == pytest.approx(1, abs=1e-4)
    wanted = crop.cut(np.minimum(ellipse_radius(BOX, (128, 160)) - 1, 1).astype(np.float32))
    inside = np.abs(wanted) < 0.5  # at the middle the cut smooths the cone's tip
    np.testing.assert_allclose(seen[1][inside], wanted[inside], atol=0.05)
    np.testing.assert_allclose(seen[2], np.log(48 / 80), atol=1e-6)
    if view == "loose":
        middle = seen[3][SIZE // 2 - 1 : SIZE // 2 + 1, SIZE // 2 - 1 : SIZE // 2 + 1]
        np.testing.assert_allclose(middle, -24 / 30, atol=crop.height / SIZE / 30)
        assert seen[3][:, 0].min() > 0
        np.testing.assert_allclose(np.exp(seen[4]) * SIZE, crop.height, rtol=1e-5)


def test_a_flat_image_is_no_error() -> None:
    assert np.isfinite(inputs(np.full((60, 60), 7, np.uint8), Box(0, 0, 60, 60), Crop(0, 0, 60, 60), "tight")).all()
