"""Fitting a calibration: weights, what is left out, and whether intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the fit is SciPy's")
from flipagents.segment.calibration import dice_of, score_of
from flipagents.train.quality import FITTED, fit, left_out
from flipenv.errors import ConfigError


def drawn(count: int, seed: int, noise: float = 0.3) -> tuple[list[dict[str, float]], list[float]]:
    """Cases whose score is 0.8 * agreement + 0.3 * sure plus noise; `contrast` must not matter."""
    rng = np.random.default_rng(seed)
    agreement, sure, contrast = rng.normal(2.4, 0.5, count), rng.normal(1.5, 0.6, count), rng.normal(0, 1, count)
    dice = dice_of(0.8 * agreement + 0.3 * sure + rng.normal(0, noise, count))
    seen = [
        {"agreement": float(a), "sure": float(s), "contrast": float(c)}
        for a, s, c in zip(agreement, sure, contrast, strict=True)
    ]
    return seen, dice.tolist()


def test_it_finds_the_weights() -> None:
    model = fit(*drawn(4000, 0, 0.05))
    assert model.features == ("agreement", "sure")
    assert model.line.weights == pytest.approx((0.8, 0.3), abs=0.03)
    assert set(model.features) < set(FITTED)


def test_no_weight_is_negative() -> None:
    seen, dice = drawn(60, 1)
    against = [{**own, "sure": -own["sure"]} for own in seen]
    assert fit(against, dice).line.weights[1] == 0


def test_intervals_hold_what_they_promise() -> None:
    coverages = []
    for seed in range(12):
        model = fit(*drawn(40, seed))
        new, truth = drawn(200, 100 + seed)
        within = [low <= dice <= high for (_, low, high), dice in zip(map(model.predict, new), truth, strict=True)]
        coverages.append(np.mean(within))
    assert 0.87 < np.mean(coverages) < 0.96


def test_left_out_is_not_seen() -> None:
    seen, dice = drawn(30, 5)
    before = left_out(seen, dice)
    assert np.abs(before.value - dice).mean() < np.abs(np.mean(dice) - dice).mean()
    # a case's own Dice does not change what is said about it
    changed = left_out(seen, [0.1, *dice[1:]])
    assert changed.value[0] == before.value[0]
    assert (changed.value != before.value).sum() > 20
    assert score_of(before.low).mean() < score_of(before.high).mean()


def test_too_few() -> None:
    seen, dice = drawn(11, 0)
    with pytest.raises(ConfigError, match="at least 12"):
        left_out(seen, dice)
    with pytest.raises(ConfigError, match="at least 10"):
        fit(seen[:9], dice[:9])
    with pytest.raises(ConfigError, match="features none"):
        fit([{"contrast": 1.0}] * 11, dice)
