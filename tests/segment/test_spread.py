"""The rule of a click against a slow reading of it, pixel by pixel, on areas that are neither square nor symmetric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from flipagents.maps.geometry import ellipse
from flipagents.segment.spread import Cells, Click, Rule, spread
from flipenv.pixels import Mask
from flipenv.types import Box, Case

PLAIN = Rule(smoothing=0.0)


def slow(image: np.ndarray, cells: Cells, mask: Mask, click: Click, box: Box, reach: float, rule: Rule) -> Mask:
    """What one click alone changes, by loops."""
    height, width = mask.shape
    size = math.sqrt(box.height * box.width)
    outline = np.argwhere(mask == click.erases)

    def gap(row: int, column: int) -> float:
        if mask[row, column] == click.erases:
            return 0.0
        beside = [math.hypot(row - r, column - c) for r, c in outline]
        # beyond the area there is no nodule
        edge = [] if click.erases else [row + 1, column + 1, height - row, width - column]
        return min(beside + edge)

    own = cells.labels[click.row, click.column]
    depth = min(gap(click.row, click.column), rule.deepest * size)
    excess = gap(click.row, click.column) - depth
    chosen = np.zeros_like(mask)
    for superpixel in range(len(cells.histograms)):
        where = np.argwhere(cells.labels == superpixel)
        unlike = wasserstein_distance(image[cells.labels == own], image[cells.labels == superpixel])
        near = 0
        for row, column in where:
            away = math.hypot(row - click.row, column - click.column)
            push = (1 + reach) * depth * math.exp(-0.5 * (away / (reach * rule.width * size)) ** 2)
            near += gap(row, column) - excess < push * math.exp(-unlike / rule.unlike)
        if near > 0.5 * len(where) or superpixel == own:
            chosen[cells.labels == superpixel] = True
    changed = chosen & (mask != click.erases)
    reached, waiting = np.zeros_like(mask), [(click.row, click.column)]
    while waiting:
        row, column = waiting.pop()
        if 0 <= row < height and 0 <= column < width and changed[row, column] and not reached[row, column]:
            reached[row, column] = True
            waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return np.where(reached, click.erases, mask)


@pytest.fixture
def scene(phantoms: list[Case]) -> tuple[np.ndarray, Cells, Mask, Box]:
    """The box of a phantom with a margin, an ellipse that is shifted to one side of it, and the box."""
    case = phantoms[0]
    image = np.ascontiguousarray(case.image[case.box.top - 5 : case.box.bottom + 4, case.box.left - 3 :][:, :70])
    box = Box(5, 3, image.shape[0] - 4, 64)
    return image, Cells.of(image, 25.0), ellipse(Box(8, 14, box.bottom - 3, 52), image.shape), box


@pytest.mark.parametrize("reach", [0.6, 1.0])
@pytest.mark.parametrize("erases", [True, False])
def test_spread_is_the_slow_reading_of_it(
    scene: tuple[np.ndarray, Cells, Mask, Box], erases: bool, reach: float
) -> None:
    image, cells, mask, box = scene
    row = (box.top + box.bottom) // 2
    click = Click(row, 8 if erases else 20, erases)
    assert mask[click.row, click.column] != erases
    found = spread(cells, mask, click, [], box, reach=reach, rule=PLAIN)
    expected = slow(image, cells, mask, click, box, reach, PLAIN)
    assert (expected != mask).sum() > (cells.labels == cells.labels[click.row, click.column]).sum()
    np.testing.assert_array_equal(found, expected)


def test_without_reach_one_superpixel_changes(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    click = Click(box.top + 2, box.left + 2, True)
    found = spread(cells, mask, click, [], box, reach=0.0, rule=Rule())
    own = cells.labels == cells.labels[click.row, click.column]
    np.testing.assert_array_equal(found, mask | own)


def test_a_longer_reach_changes_no_fewer_pixels(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    click = Click((box.top + box.bottom) // 2, 8, True)
    areas = [spread(cells, mask, click, [], box, reach=each, rule=PLAIN).sum() for each in (0.0, 0.5, 1.0, 2.0)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_a_click_in_the_box_erases_nothing_outside_it(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    row = (box.top + box.bottom) // 2
    frame = np.zeros_like(mask)
    frame[box.rows, box.columns] = True
    inside = spread(cells, mask, Click(row, box.left + 1, True), [], box, reach=4.0, rule=Rule())
    assert not (inside & ~frame).any()
    beyond = spread(cells, mask, Click(row, box.left - 1, True), [], box, reach=1.0, rule=Rule())
    assert beyond[row, box.left - 1], "a lesion may leave its box: a click says so"


def test_an_earlier_click_keeps_the_pixels_nearer_to_it(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    row = (box.top + box.bottom) // 2
    earlier, click = Click(row, 24, True), Click(row, 17, False)
    alone = spread(cells, mask, click, [], box, reach=3.0, rule=Rule())
    assert not alone[row, 24]
    beside = spread(cells, mask, click, [earlier], box, reach=3.0, rule=Rule())
    assert beside[row, 24]
    assert not beside[row, 17]
    nearer = earlier.distance(mask.shape) < click.distance(mask.shape)
    gone = mask & ~spread(cells, mask, click, [earlier], box, reach=3.0, rule=PLAIN)
    assert gone.any()
    assert not (gone & nearer).any()


def test_the_later_click_on_a_superpixel_wins(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    row, column = (box.top + box.bottom) // 2, 8
    own = np.argwhere(cells.labels == cells.labels[row, column])
    other = tuple(int(each) for each in own[np.abs(own - (row, column)).sum(axis=1).argmax()])
    first = spread(cells, mask, Click(row, column, True), [], box, reach=0.0, rule=Rule())
    assert first[other]
    back = spread(cells, first, Click(*other, False), [Click(row, column, True)], box, reach=0.0, rule=Rule())
    np.testing.assert_array_equal(back, mask & (cells.labels != cells.labels[row, column]))


def test_what_is_right_already_stays(scene: tuple[np.ndarray, Cells, Mask, Box]) -> None:
    _, cells, mask, box = scene
    inner = np.argwhere(mask).mean(axis=0).round().astype(int)
    own = cells.labels == cells.labels[tuple(inner)]
    assert mask[own].all()
    found = spread(cells, mask, Click(int(inner[0]), int(inner[1]), True), [], box, reach=1.0, rule=Rule())
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("full", [True, False])
def test_an_empty_or_full_mask(scene: tuple[np.ndarray, Cells, Mask, Box], full: bool) -> None:
    _, cells, mask, box = scene
    start = np.full_like(mask, full)
    row, column = (box.top + box.bottom) // 2, (box.left + box.right) // 2
    found = spread(cells, start, Click(row, column, not full), [], box, reach=1.0, rule=Rule())
    changed = found != start
    assert changed[row, column]
    assert not changed.all()
