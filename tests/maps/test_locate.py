"""Boxes that were off go back to where the nodule is."""

from __future__ import annotations

import numpy as np
import pytest

from flipagents.maps.geometry import ellipse

pytest.importorskip("torch", reason="the network that looks needs torch")
from flipagents.maps.locate import best_place
from flipenv.episode import shift_box
from flipenv.types import Box

BOX = Box(50, 60, 90, 130)
SHAPE = (150, 210)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (12, -9), (-30, 30), (7, 25)])
def test_it_goes_back(rows: int, columns: int) -> None:
    seen = ellipse(BOX, SHAPE).astype(np.float32)
    assert best_place(seen, shift_box(BOX, rows, columns, SHAPE), 30) == BOX


def test_no_further_than_the_margin_nor_out_of_the_image() -> None:
    seen = ellipse(Box(0, 0, 40, 70), SHAPE).astype(np.float32)
    assert best_place(seen, BOX, 20) == Box(30, 40, 70, 110)
    corner = Box(5, 8, 45, 78)
    assert best_place(seen, corner, 30) == Box(0, 0, 40, 70)


def test_the_middle_of_places_as_good() -> None:
    seen = np.zeros(SHAPE, np.float32)
    seen[45:95, 30:170] = 1  # larger than the box, which fits in many places
    found = best_place(seen, BOX, 15)
    assert found == BOX, "as good at 15 px to the left and right, 5 up and down"


def test_nothing_seen_leaves_the_box() -> None:
    assert best_place(np.zeros(SHAPE, np.float32), BOX, 30) == BOX
