"""One piece, no holes, no threads; and never less than nothing."""

from __future__ import annotations

import numpy as np
import pytest

from flipagents.maps.tidy import tidy


def block(*parts: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    for part in parts:
        mask[part] = True
    return mask


BODY = np.s_[8:30, 10:40]


def test_holes_are_filled() -> None:
    mask = block(BODY)
    mask[12:20, 15:22] = False
    mask[25, 30] = False
    before = mask.copy()
    np.testing.assert_array_equal(tidy(mask), block(BODY))
    np.testing.assert_array_equal(mask, before)


def test_a_piece_inside_a_hole_goes_with_the_hole() -> None:
    mask = block(BODY)
    mask[10:28, 12:38] = False
    mask[15:20, 20:25] = True
    np.testing.assert_array_equal(tidy(mask), block(BODY))


def test_a_bay_stays_open() -> None:
    mask = block(BODY)
    mask[8:20, 20:25] = False
    np.testing.assert_array_equal(tidy(mask), mask)


def test_the_largest_piece_is_kept() -> None:
    np.testing.assert_array_equal(tidy(block(BODY, np.s_[34:38, 45:58])), block(BODY))
    diagonal = block(BODY, np.s_[30:35, 40:45])
    np.testing.assert_array_equal(tidy(diagonal), diagonal)  # touching at a corner is one piece


@pytest.mark.parametrize("opening", [1, 2])
def test_opening_cuts_threads(opening: int) -> None:
    mask = block(BODY, np.s_[18:21, 40:58])
    np.testing.assert_array_equal(tidy(mask, opening=opening), block(BODY))
    np.testing.assert_array_equal(tidy(mask), mask)


def test_opening_keeps_what_lies_on_the_edge() -> None:
    whole = np.ones((12, 17), bool)
    np.testing.assert_array_equal(tidy(whole, opening=2), whole)


def test_an_opening_that_would_leave_nothing_is_left_out() -> None:
    thin = block(np.s_[10:13, 10:40])
    np.testing.assert_array_equal(tidy(thin, opening=1), thin)


def test_empty_stays_empty() -> None:
    empty = np.zeros((7, 9), bool)
    result = tidy(empty, opening=2)
    assert result.dtype == np.bool_
    assert result.shape == (7, 9)
    assert not result.any()
    assert result is not empty


def test_one_pixel() -> None:
    mask = np.zeros((5, 6), bool)
    mask[2, 3] = True
    np.testing.assert_array_equal(tidy(mask, opening=1), mask)
