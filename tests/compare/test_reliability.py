"""Whether predicted Dice can be trusted: against SciPy and against plain loops."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from flipagents.compare.plots import write_quality_figures
from flipagents.compare.reliability import reliabilities, reliability, risk_curve, spearman
from flipagents.compare.scoring import score
from flipagents.compare.summaries import summarise
from flipagents.compare.tables import markdown
from flipagents.maps.geometry import ellipse
from flipenv.types import Case

VALUE = [0.9, 0.7, 0.95, 0.7, 0.4]
DICE = [0.92, 0.6, 0.9, 0.8, 0.5]


def test_ranks_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.integers(0, 6, 17), rng.normal(size=17)
        assert spearman(ours, theirs) == pytest.approx(stats.spearmanr(ours, theirs)[0])
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_risk_against_coverage() -> None:
    curves = []
    for tied in itertools.permutations([1, 3]):  # the two with 0.7, in either order
        order = [2, 0, *tied, 4]
        curves.append([np.mean([1 - DICE[index] for index in order[:k]]) for k in range(1, 6)])
    np.testing.assert_allclose(risk_curve(VALUE, DICE), np.mean(curves, axis=0))
    found = reliability(VALUE, DICE)
    assert found.area == pytest.approx(np.mean(curves))
    assert found.perfect < found.area < found.random == pytest.approx(1 - np.mean(DICE))
    assert found.error == pytest.approx(np.mean([0.02, 0.1, 0.05, 0.1, 0.1]))
    assert (found.n, found.calibrated) == (5, 0)
    assert math.isnan(found.coverage)
    again = reliability(VALUE, DICE, [0.8, 0.65, np.nan, 0.7, 0.3], [0.95, 0.75, np.nan, 0.85, 0.45])
    assert (again.calibrated, again.coverage) == (4, 0.5)
    assert again.width == pytest.approx(0.1375)


def test_of_rows(phantoms: list[Case], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plain = [score("box", 0, case, ellipse(case.box, case.image.shape), 0.0) for case in phantoms]
    rows = [
        dataclasses.replace(row, method="a/b", quality=0.9 - 0.1 * index, low=0.2, high=0.99)
        for index, row in enumerate(plain)
    ]
    found = reliabilities([*plain, *rows])
    assert set(found) == {"a/b"}
    assert found["a/b"].coverage == np.mean([0.2 <= row.dice <= 0.99 for row in rows])
    assert "| a/b | 6 |" in markdown(summarise(rows, draws=10)[0], None, {}, (), found)
    paths = write_quality_figures([*plain, *rows], tmp_path)
    assert sorted(path.name for path in paths) == ["reliability-a_b.png", "risk-coverage-a_b.png"]
    assert all(path.read_bytes()[1:4] == b"PNG" for path in paths)
