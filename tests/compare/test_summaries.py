"""Means, intervals and differences of made-up rows against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flipagents import metrics
from flipagents.compare.scoring import CaseScore
from flipagents.compare.summaries import ALL, SIZES, Summary, summarise, thirds

AREAS = [700, 100, 400, 200, 300, 600, 500]


def rows(method: str, dices: list[float], seed: int = 0, groups: str = "bmbmbbm") -> list[CaseScore]:
    return [
        CaseScore(
            method, seed, f"case {i}", groups[i], AREAS[i], dice, dice / (2 - dice), 3 - 2 / max(dice, 0.01), 9 * dice,
            8 * dice, dice, dice == 0, 2.0 + i,
        )
        for i, dice in enumerate(dices)
    ]  # fmt: skip


A = [0.9, 0.8, 0.7, 0.95, 0.85, 0.75, 0.6]
B = [0.8, 0.85, 0.6, 0.9, 0.8, 0.8, 0.5]


def table(scores: list[CaseScore], *references: str) -> dict[tuple[str, str], Summary]:
    found, _ = summarise(scores, references, draws=300)
    return {(row.group, row.method): row for row in found}


def test_of_all_cases() -> None:
    found = table(rows("a", A) + rows("b", B), "b", "nobody")
    row = found[ALL, "a"]
    assert (row.n, row.seeds) == (7, 1)
    assert row.dice.mean == pytest.approx(np.mean(A))
    assert row.dice.std == pytest.approx(np.std(A, ddof=1))
    assert row.dice.median == np.median(A)
    assert row.dice.interval == metrics.bootstrap(A, draws=300)
    assert row.differences == {"b": metrics.paired_difference(A, B, draws=300)}
    assert row.measures["hausdorff95"].mean == pytest.approx(8 * np.mean(A))
    assert row.ms == 5
    assert found[ALL, "b"].differences == {}
    assert math.isnan(row.dice_seed_std)


def test_groups() -> None:
    found = table(rows("a", A) + rows("b", B), "b")
    assert list(dict.fromkeys(group for group, _ in found)) == [ALL, "b", "m", *SIZES]
    assert found["m", "a"].dice.mean == pytest.approx(np.mean([0.8, 0.95, 0.6]))
    assert found["m", "a"].differences["b"].mean == pytest.approx(np.mean([-0.05, 0.05, 0.1]))
    low, high = thirds(AREAS)  # type: ignore[misc]
    assert (low, high) == (300, 500)
    assert [found[size, "a"].n for size in SIZES] == [3, 2, 2]
    assert found[SIZES[0], "a"].dice.mean == pytest.approx(np.mean([0.8, 0.95, 0.85]))
    assert found[SIZES[2], "b"].dice.mean == pytest.approx(np.mean([0.8, 0.8]))


def test_one_class_and_few_boxes_have_no_groups() -> None:
    assert {group for group, _ in table(rows("a", A[:2], groups="bb"))} == {ALL}
    assert thirds([4, 5]) is None
    assert {row.group for row in summarise(rows("a", A[:4], groups="    "), draws=10)[0]} == {ALL, *SIZES}


def test_boxes_of_one_size_are_all_small() -> None:
    same = [CaseScore(**{**vars(row), "area": 50}) for row in rows("a", A, groups="bbbbbbb")]
    assert {row.group: row.n for row in summarise(same, draws=10)[0]} == {ALL: 7, SIZES[0]: 7}


def test_several_seeds_count_each_case_once() -> None:
    one, two = A, [value - 0.1 for value in A]
    found = table(rows("a", one, 0) + rows("a", two, 5) + rows("b", B), "b")
    row = found[ALL, "a"]
    assert (row.n, row.seeds, found[ALL, "b"].seeds) == (7, 2, 1)
    assert row.dice.mean == pytest.approx(np.mean(A) - 0.05)
    assert row.dice.std == pytest.approx(np.std(A, ddof=1))
    assert row.dice_seed_std == pytest.approx(0.1 / math.sqrt(2))
    assert row.differences["b"].mean == pytest.approx(np.mean(A) - 0.05 - np.mean(B))


def test_empty_masks() -> None:
    own = rows("a", [*A[:5], 0.0, 0.0])
    own = [CaseScore(**{**vars(row), "hausdorff": math.nan if row.empty else row.hausdorff}) for row in own]
    row = table(own)[ALL, "a"]
    assert row.empty == pytest.approx(2 / 7)
    assert row.measures["hausdorff"].mean == pytest.approx(9 * np.mean(A[:5]))
    assert row.measures["hausdorff"].median == pytest.approx(9 * np.median(A[:5]))
    endless = [CaseScore(**{**vars(each), "conformity": -math.inf if each.empty else 0.5}) for each in own]
    conformity = table(endless)[ALL, "a"].measures["conformity"]
    assert conformity.mean == -math.inf
    assert conformity.median == 0.5
    assert math.isnan(conformity.std)
