"""How good a mask probably is: what is measured on it, what that says, and why it is marked."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from flipagents.formats.quality_csv import REASONS
from flipagents.segment.answer import Answer
from flipagents.segment.calibration import Calibration, Line
from flipagents.segment.quality import LOCATOR, UNSURE, Gauge, features
from flipenv.errors import ConfigError
from flipenv.types import Box, Case

BOX = Box(30, 44, 90, 144)


def scene(blur: float = 2.0, grey: float = 60.0, scale: int = 1) -> tuple[np.ndarray, Answer]:
    """A dark ellipse on speckle and the answer about it; a larger `blur` is a less sure map."""
    rows, columns = np.mgrid[0:130, 0:190]
    middle, half = (BOX.top + BOX.height / 2 - 0.5, BOX.left + BOX.width / 2 - 0.5), (BOX.height / 2, BOX.width / 2)
    inside = ((rows - middle[0]) / half[0]) ** 2 + ((columns - middle[1]) / half[1]) ** 2 <= 1
    noise = np.random.default_rng(3).normal(0, 8, inside.shape)
    image = np.clip(np.where(inside, grey, 130) + noise, 0, 255).astype(np.uint8)
    seen = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), blur)
    image, seen = (np.kron(each, np.ones((scale, scale), each.dtype)) for each in (image, seen))
    box = Box(*(scale * side for side in BOX))
    return image, Answer(seen > 0.5, box, seen, {"rule": seen, "network": seen})


def test_each_is_higher_for_a_surer_map() -> None:
    sure, unsure = (features(image, answer.box, answer) for image, answer in (scene(1.0), scene(9.0)))
    for name in ("agreement", "agreement_rule", "agreement_network", "maps_agree", "sure", "reach"):
        assert sure[name] > unsure[name], name
    bright, dark = (features(image, BOX, answer)["contrast"] for image, answer in (scene(grey=125), scene(grey=40)))
    assert dark > bright


def test_values_are_those_of_plain_sums() -> None:
    image, answer = scene(3.0)
    seen = features(image, BOX, answer)
    overlap = sum(float(p) for p, m in zip(answer.map.ravel(), answer.mask.ravel(), strict=True) if m)
    dice = 2 * overlap / (float(answer.map.sum(dtype=float)) + int(answer.mask.sum()))
    assert 1 - np.exp(-seen["agreement"]) == pytest.approx(dice, abs=0.005)
    rows, columns = np.nonzero(answer.mask)
    reach = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / (BOX.height * BOX.width)
    assert seen["reach"] == pytest.approx(reach)
    assert Gauge().rate(image, answer).value == pytest.approx(1 - np.exp(-seen["agreement"]))


def test_size_does_not_matter() -> None:
    (small, answer), (large, larger) = scene(), scene(scale=4)
    once, again = features(small, answer.box, answer), features(large, larger.box, larger)
    for name in set(once) - {"contrast"}:
        assert once[name] == pytest.approx(again[name], rel=0.08), name


def test_without_a_map_there_is_none() -> None:
    image, answer = scene()
    blind = dataclasses.replace(answer, map=None, opinions={})
    assert Gauge().rate(image, blind) is None
    with pytest.raises(ConfigError, match="no map"):
        features(image, BOX, blind)
    empty = dataclasses.replace(answer, mask=np.zeros_like(answer.mask))
    for own in (empty, dataclasses.replace(blind, mask=empty.mask)):
        quality = Gauge().rate(image, own)
        assert (quality.value, quality.low, quality.reasons) == (0, None, ("empty",))
    assert features(image, BOX, empty)["agreement"] == 0


def test_calibrated() -> None:
    image, answer = scene()
    folds = tuple(Line(-0.2, (1.0,), (0.1, 0.3)) for _ in range(6))
    quality = Gauge(Calibration(("agreement",), Line(-0.2, (1.0,)), folds)).rate(image, answer)
    plain = Gauge().rate(image, answer)
    assert quality.calibrated
    assert not plain.calibrated
    assert (plain.low, plain.high) == (None, None)
    assert quality.low < quality.value < quality.high <= 1
    assert quality.value < plain.value, "a lower bias is a lower Dice"


def test_reasons() -> None:
    image, answer = scene()
    assert Gauge().rate(image, answer).reasons == ()
    flat = Gauge().rate(np.full_like(image, 99), answer)
    assert flat.reasons == ("no-nodule",)
    blurred = scene(25.0)[1]
    assert Gauge().rate(image, dataclasses.replace(answer, map=blurred.map)).value < UNSURE
    assert "outline-unsure" in Gauge().rate(image, dataclasses.replace(answer, map=blurred.map)).reasons
    aside = np.roll(answer.map, 30, axis=1)
    located = dataclasses.replace(answer, opinions={**answer.opinions, LOCATOR: aside})
    assert Gauge().rate(image, located).reasons == ("box-off",)
    seen = dataclasses.replace(answer, opinions={**answer.opinions, LOCATOR: answer.map})
    assert Gauge().rate(image, seen).reasons == ()
    assert {"no-nodule", "box-off", "outline-unsure", "empty"} <= set(REASONS)


def test_a_mended_mask_is_not_calibrated(phantoms: list[Case]) -> None:
    pytest.importorskip("onnxruntime")
    from flipagents.segment.segmenter import Segmenter

    case = phantoms[1]
    segmenter = Segmenter.from_pretrained("busi-guided")
    segmenter.set_image(case.image)
    first, plain = segmenter.predict_with_quality(case.box)
    y, x = np.argwhere(first)[0]
    mask, mended = segmenter.predict_with_quality(case.box, points=[(x, y)], labels=[0])
    assert not mask[y, x]
    assert plain.calibrated
    assert plain.low is not None
    assert (mended.calibrated, mended.low, mended.high) == (False, None, None), (
        "a wrong click looks as sure as a right one"
    )
    assert 0 < mended.value < 1
