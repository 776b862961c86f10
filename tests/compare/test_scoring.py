"""Rows of numbers, and the same rows read back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from flipagents import metrics
from flipagents.compare import scoring
from flipagents.maps.geometry import ellipse
from flipagents.segment.quality import Quality
from flipenv.types import Box, Case


def test_every_number() -> None:
    """20 of the 40 pixels of a line: all numbers are known by hand."""
    truth, mask = np.zeros((2, 30, 60), bool)
    truth[10, 10:50] = True
    mask[10, 10:30] = True
    image = np.random.default_rng(0).integers(0, 255, truth.shape, np.uint8)
    case = Case(image, Box(8, 9, 13, 52), id="line", mask=truth, meta={"class": "benign"})
    row = scoring.score("mine", 3, case, mask, 1.5, Quality(0.7, 0.5, 0.9, calibrated=True))
    expected = {
        "method": "mine",
        "seed": 3,
        "case": "line",
        "group": "benign",
        "area": 5 * 43,
        "dice": 2 * 20 / 60,
        "jaccard": 20 / 40,
        "conformity": 0.0,  # where Dice is 2/3
        "hausdorff": 20.0,  # from the line's far end
        "hausdorff95": 18.05,  # of 20 zeros and 1, 2, ... 20, between 18 and 19
        "asd": 210 / 60,  # 1 + 2 + ... + 20, over both boundaries
        "empty": False,
        "ms": 1.5,
    }
    rated = {"quality": 0.7, "low": 0.5, "high": 0.9}
    assert vars(row) == pytest.approx(expected | rated, abs=1e-12)
    assert tuple(expected)[5:] == scoring.NUMBERS


def test_nothing_segmented(phantoms: list[Case]) -> None:
    row = scoring.score("none", 0, phantoms[0], np.zeros(phantoms[0].image.shape, bool), 0.0)
    assert row.empty
    assert (row.dice, row.conformity) == (0, -math.inf)
    assert all(math.isnan(value) for value in (row.hausdorff, row.hausdorff95, row.asd))


def test_cutting_changes_nothing() -> None:
    noise = np.random.default_rng(0)
    for _ in range(30):
        pair = np.zeros((2, 23, 31), bool)
        for mask in pair:
            top, left = noise.integers(0, 18), noise.integers(0, 26)
            mask[top : top + noise.integers(1, 9), left : left + noise.integers(1, 12)] = True
        cut = scoring._cut(*pair)
        assert metrics.distances(*cut) == pytest.approx(metrics.distances(*pair), abs=1e-12)
        assert metrics.dice(*cut) == metrics.dice(*pair)


def test_read_back(phantoms: list[Case]) -> None:
    rows = [scoring.score("a, b", 1, case, ellipse(case.box, case.image.shape), 1 / 3) for case in phantoms]
    rows.append(scoring.score('"', 0, phantoms[0], np.zeros(phantoms[0].image.shape, bool), 7.25))
    rows[1] = dataclasses.replace(rows[1], quality=1 / 3)
    rows[2] = dataclasses.replace(rows[2], quality=0.5, low=0.1, high=2 / 3)
    again = scoring.from_csv(scoring.to_csv(rows))
    assert again[:-1] == rows[:-1]
    assert repr(again[-1]) == repr(rows[-1]), "NaN equals no NaN"
    with pytest.raises(ValueError, match="not the rows"):
        scoring.from_csv("method,case\na,b\n")
    with pytest.raises(ValueError, match="not the rows"):
        scoring.from_csv(scoring.to_csv(rows)[:-30])
