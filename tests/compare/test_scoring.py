"""Rows of numbers, and the same rows read back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from flipagents import metrics
from flipagents.compare import scoring
from flipagents.maps.geometry import ellipse
from flipenv.types import Case


def test_every_number(phantoms: list[Case]) -> None:
    case = dataclasses.replace(phantoms[1], meta={"class": "benign"})
    mask = ellipse(case.box, case.image.shape)
    row = scoring.score("ellipse", 3, case, mask, 1.5)
    assert (row.method, row.seed, row.case, row.group, row.ms, row.empty) == (
        "ellipse",
        3,
        case.id,
        "benign",
        1.5,
        False,
    )
    assert row.area == (case.box.bottom - case.box.top) * (case.box.right - case.box.left)
    for name in ("dice", "jaccard", "conformity", "hausdorff", "hausdorff95"):
        assert getattr(row, name) == getattr(metrics, name)(mask, case.mask)
    assert row.asd == pytest.approx(metrics.average_surface_distance(mask, case.mask))
    assert set(scoring.NUMBERS) == {*vars(row)} - {"method", "seed", "case", "group", "area"}


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
    again = scoring.from_csv(scoring.to_csv(rows))
    assert again[:-1] == rows[:-1]
    assert repr(again[-1]) == repr(rows[-1]), "NaN equals no NaN"
    with pytest.raises(ValueError, match="not the rows"):
        scoring.from_csv("method,case\na,b\n")
    with pytest.raises(ValueError, match="not the rows"):
        scoring.from_csv(scoring.to_csv(rows)[:-30])
