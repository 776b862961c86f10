"""From features to a Dice with its interval, and the file that says how."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from flipagents.segment.calibration import (
    QUALITY,
    Calibration,
    Line,
    calibration_of,
    dice_of,
    interval,
    read_calibrations,
    score_of,
    weights_of,
    write_calibrations,
)
from flipagents.segment.runtimes import COPY
from flipagents.store.checkpoint import SHIPPED, CheckpointError
from flipenv.errors import ConfigError

FOLDS = tuple(Line(0.1 * k, (0.5 + 0.01 * k, 0.2), (0.05 * k, 0.3 - 0.02 * k, 0.11)) for k in range(7))
MODEL = Calibration(("a", "b"), Line(0.3, (0.53, 0.2)), FOLDS)


def test_the_interval_is_that_of_the_definition() -> None:
    values = np.array([2.0, 1.5])
    lows, highs = [], []
    for fold in FOLDS:
        centre = fold.bias + fold.weights[0] * 2.0 + fold.weights[1] * 1.5
        lows += [centre - residual for residual in fold.residuals]
        highs += [centre + residual for residual in fold.residuals]
    n = len(lows)
    assert n == 21
    low = sorted(lows)[math.floor(0.1 * (n + 1)) - 1]
    high = sorted(highs)[math.ceil(0.9 * (n + 1)) - 1]
    assert interval(FOLDS, values) == pytest.approx((low, high))


def test_a_better_feature_never_lowers_the_value() -> None:
    values = [MODEL.predict({"a": a, "b": 1.0}) for a in np.linspace(-3, 12, 40)]
    for before, after in itertools.pairwise(values):
        assert all(one <= other for one, other in zip(before, after, strict=True))
    for value, low, high in values:
        assert 0 <= low <= value <= high <= 1
    with pytest.raises(ConfigError, match="needs b, which"):
        MODEL.predict({"a": 1.0})


def test_the_scale() -> None:
    dice = np.array([0.0, 0.5, 0.93, 1.0])
    np.testing.assert_allclose(dice_of(score_of(dice)), dice, atol=1e-12)
    assert dice_of([-50.0, 50.0]).tolist() == [0, 1]


def test_read_back(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    write_calibrations(paths, {"contour": MODEL, "flip": MODEL})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = read_calibrations(paths[0])
    assert set(again) == {"contour", "flip"}
    assert again["contour"].predict({"a": 2, "b": 1}) == MODEL.predict({"a": 2, "b": 1})


@pytest.mark.parametrize("fault", ["{", "[]", '{"format": 2}', "negative", "few"])
def test_damaged(tmp_path: Path, fault: str) -> None:
    path = tmp_path / QUALITY
    write_calibrations([path], {"contour": MODEL})
    content = json.loads(path.read_text())
    if fault == "negative":
        content["methods"]["contour"]["folds"][0]["weights"][0] = -0.1
    elif fault == "few":
        content["methods"]["contour"]["folds"] = content["methods"]["contour"]["folds"][:2]
    path.write_text(json.dumps(content) if fault in ("negative", "few") else fault)
    with pytest.raises(CheckpointError, match="is not a calibration"):
        read_calibrations(path)


def test_what_ships_is_bound_to_its_weights() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("contour", "flip", "flip+student"):
            found = calibration_of(SHIPPED, method)
            assert found == calibration_of(SHIPPED / COPY, method)
            assert found.about["n"] == 59
            assert "val" in found.about["source"]


def test_bound_to_its_weights(tmp_path: Path) -> None:
    mine = Path(shutil.copytree(SHIPPED, tmp_path / "mine"))
    (mine / QUALITY).unlink()
    assert calibration_of(mine, "flip") is None
    bound = Calibration(MODEL.features, MODEL.line, MODEL.folds, {"weights": weights_of(mine)})
    write_calibrations([mine / QUALITY, mine / COPY / QUALITY], {"flip": bound})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert calibration_of(mine, "flip") == calibration_of(mine / COPY, "flip") == bound
        assert calibration_of(mine, "contour") is None
    with pytest.raises(ConfigError, match="no calibration of 'contour'; it has flip"):
        calibration_of(mine, "contour", mine / QUALITY)
    write_calibrations([mine / QUALITY], {"flip": MODEL})
    with pytest.warns(RuntimeWarning, match="other weights"):
        assert calibration_of(mine, "flip") is None
    with pytest.raises(ConfigError, match="flip calibrate --weights"):
        calibration_of(mine, "flip", mine / QUALITY)
