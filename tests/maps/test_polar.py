"""The polar boundary finds what it should on drawn lesions; its paths against all closed paths there are."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from flipagents.maps.geometry import ellipse, filled_box
from flipagents.maps.polar import JUMP, closed_paths, edges, polar, polar_probability
from flipagents.metrics import dice
from flipenv.types import Box


def slanted(angle: float = 30.0) -> tuple[np.ndarray, Box, np.ndarray]:
    """A dark slanted lesion in speckle, its tight box and its mask."""
    shape = (150, 220)
    drawn = np.zeros(shape, np.uint8)
    cv2.ellipse(drawn, (117, 71), (52, 25), angle, 0, 360, 1, -1)
    mask = drawn > 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    speckle = np.random.default_rng(1).rayleigh(1.0, shape)
    image = np.clip(np.where(mask, 35, 90) * speckle, 0, 255).astype(np.uint8)
    return image, box, mask


def test_helpers_fill_the_box() -> None:
    box, shape = Box(2, 3, 12, 27), (20, 40)
    assert filled_box(box, shape).sum() == 10 * 24
    round_one = ellipse(box, shape)
    assert round_one.sum() == pytest.approx(np.pi / 4 * 10 * 24, rel=0.02)
    assert not (round_one & ~filled_box(box, shape)).any()
    assert round_one[2:12, 14:16].all()
    assert round_one[6:8, 3:27].all()


def test_beats_the_ellipse_on_slanted_lesions() -> None:
    for angle in (0.0, 30.0, -40.0):
        image, box, mask = slanted(angle)
        found = dice(polar(image, box), mask)
        assert found > 0.95
        assert found > dice(ellipse(box, image.shape), mask) - 0.02
    image, box, mask = slanted()
    assert dice(polar(image, box), mask) > dice(ellipse(box, image.shape), mask) + 0.05


def test_options() -> None:
    image, box, mask = slanted()
    plain = dice(polar(image, box, tilts=0, pulls=400, touch=False), mask)
    assert plain < dice(polar(image, box), mask)
    rows, columns = np.nonzero(polar(image, box, tilts=0.3, pulls=200))
    extent = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    np.testing.assert_allclose(extent, box, atol=1, err_msg="the path touches all four sides")


def test_settings_are_averaged() -> None:
    image, box, _ = slanted()
    alone = [polar_probability(image, box, pulls=pull) for pull in (150, 600)]
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    np.testing.assert_allclose(polar_probability(image, box, pulls=(150, 600)), np.mean(alone, axis=0), atol=1e-6)


def test_probability_and_independence_of_the_rest_of_the_image() -> None:
    image, box, _ = slanted()
    share = polar_probability(image, box)
    assert share.dtype == np.float32
    assert share.shape == image.shape
    assert 0 <= share.min() < 1e-6
    assert share.max() == pytest.approx(1)
    other = image.copy()
    other[:, -3:] = 255
    np.testing.assert_array_equal(polar_probability(other, box), share)


@pytest.mark.parametrize("box", [Box(0, 0, 60, 90), Box(10, 20, 12, 23), Box(0, 0, 1, 1), Box(59, 0, 60, 90)])
def test_any_box_of_a_flat_image(box: Box) -> None:
    mask = polar(np.full((60, 90), 40, np.uint8), box)
    assert mask.any()
    assert not mask[max(box.bottom + 1, 0) :].any()


def test_edges_of_a_step() -> None:
    unrolled = np.full((1, 8), 10.0)
    unrolled[:, 4:] = 30.0
    np.testing.assert_allclose(edges(unrolled, 1), [[0, 0, 0, 10, 10, 0, 0, 0]])
    assert edges(unrolled, 3).max() == pytest.approx(15)


def test_closed_paths_against_all_there_are() -> None:
    angles, radii, stiffness = 6, 4, 0.3
    costs = np.random.default_rng(2).normal(size=(20, angles, radii))

    def price(cost: np.ndarray, path: np.ndarray) -> float:
        steps = np.diff([*path, path[0]])
        return float(cost[np.arange(angles), path].sum() + stiffness * (steps**2).sum())

    found = closed_paths(costs, stiffness)
    assert np.abs(np.diff(found, axis=1, append=found[:, :1])).max() <= JUMP
    every = [np.array(path) for path in itertools.product(range(radii), repeat=angles)]
    best = [min(price(cost, path) for path in every) for cost in costs]
    ours = [price(cost, path) for cost, path in zip(costs, found, strict=True)]
    np.testing.assert_allclose(ours, best)
