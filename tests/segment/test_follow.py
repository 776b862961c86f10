"""Following a nodule through a film, and letting go of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from flipagents.maps.geometry import ellipse, filled_box
from flipagents.maps.seek import Seeker
from flipagents.metrics import dice
from flipagents.segment.follow import Followed, follow
from flipagents.segment.gone import Measures, Rule, agreement, contrast
from flipenv.errors import BoxError, ImageError, MaskError
from flipenv.pixels import Grey, Mask
from flipenv.types import Box, Case

SHAPE = (100, 150)
SEEKER = Seeker()


def film(count: int = 9, gone: int | None = None) -> tuple[np.ndarray, list[Box]]:
    """A dark ellipse that moves right and grows, until it is gone."""
    random = np.random.default_rng(3)
    boxes = [Box(30 - frame, 30 + 3 * frame, 60 + frame, 70 + 5 * frame) for frame in range(count)]
    levels = [np.where(ellipse(box, SHAPE) & (gone is None or k < gone), 60, 150) for k, box in enumerate(boxes)]
    frames = [np.clip(level + random.normal(0, 8, SHAPE), 0, 255).astype(np.uint8) for level in levels]
    return np.stack(frames), boxes


def inscribed(cases: list[Case]) -> list[Mask]:
    return [ellipse(case.box, case.image.shape) for case in cases]


def test_forwards_then_backwards() -> None:
    frames, boxes = film()
    steps = list(follow(frames, 4, boxes[4], inscribed, SEEKER))
    assert [step.frame for step in steps] == [4, 5, 6, 7, 8, 3, 2, 1, 0]
    assert steps[0].box == boxes[4]
    for step in steps:
        assert not step.gone
        assert dice(step.mask, ellipse(boxes[step.frame], SHAPE)) > 0.9
        assert step.measures.score is None
    same = [dice(ellipse(boxes[4], SHAPE), ellipse(box, SHAPE)) for box in boxes]
    assert min(same) < 0.8
    again = list(follow(frames, 4, boxes[4], inscribed, SEEKER))
    assert [step.box for step in again] == [step.box for step in steps]
    assert [step.measures for step in again] == [step.measures for step in steps]


@pytest.mark.parametrize("judged", [False, True])
def test_it_lets_go_where_the_nodule_is_gone(judged: bool) -> None:
    frames, boxes = film(12, gone=8)
    asked: list[Box] = []

    def score(image: Grey, box: Box) -> float:
        asked.append(box)
        return 0.9 if image[box.rows, box.columns].mean() < 120 else 0.1

    steps = list(follow(frames, 2, boxes[2], inscribed, SEEKER, score if judged else None))
    assert [step.frame for step in steps] == [2, 3, 4, 5, 6, 7, 8, 1, 0]
    (gone,) = [step for step in steps if step.gone]
    assert gone.frame == 8
    assert gone.gone.startswith("contrast ")
    assert ("classifier 0.10 after 0.90" in gone.gone) is judged
    assert asked == ([step.box for step in steps] if judged else [])


def test_an_empty_mask_and_one_without_surroundings_end_it() -> None:
    frames, boxes = film()

    def empty_later(cases: list[Case]) -> list[Mask]:
        return [np.zeros(SHAPE, bool) if cases[0].id == "frame6" else mask for mask in inscribed(cases)]

    def all_later(cases: list[Case]) -> list[Mask]:
        return [np.ones(SHAPE, bool) if cases[0].id == "frame6" else mask for mask in inscribed(cases)]

    for method, reason in ((empty_later, "finds nothing in the box"), (all_later, "no surroundings")):
        gone = [step for step in follow(frames, 4, boxes[4], method, SEEKER) if step.gone]
        assert [step.frame for step in gone] == [6]
        assert reason in gone[0].gone


def test_what_cannot_be_followed() -> None:
    frames, boxes = film(3)

    def run(start: int, box: Any, **options: Any) -> list[Followed]:
        return list(follow(options.pop("frames", frames), start, box, options.pop("method", inscribed), SEEKER))

    with pytest.raises(ImageError, match=r"no frame 3; expected 0\.\.2"):
        run(3, boxes[0])
    with pytest.raises(BoxError, match="outside its image"):
        run(0, Box(0, 0, 101, 20))
    with pytest.raises(ImageError, match="there is no nodule to see"):
        run(0, boxes[0], frames=np.full_like(frames, 9))
    with pytest.raises(MaskError, match="frame 1: the method finds nothing"):
        run(1, boxes[1], method=lambda cases: [np.zeros(SHAPE, bool)])


def test_agreement_against_its_definition() -> None:
    random = np.random.default_rng(1)
    seen, mask = random.random((20, 30)).astype(np.float32), random.random((20, 30)) > 0.6
    both = sum(float(seen[r, c]) for r in range(20) for c in range(30) if mask[r, c])
    assert agreement(seen, mask) == pytest.approx(2 * both / (float(seen.sum()) + int(mask.sum())), rel=1e-5)
    assert agreement(mask.astype(np.float32), mask) == 1
    assert agreement(np.zeros((20, 30), np.float32), np.zeros((20, 30), bool)) == 0


def test_contrast_of_the_outline() -> None:
    mask = ellipse(Box(20, 30, 70, 110), SHAPE)
    assert contrast(np.where(mask, 40, 100).astype(np.uint8), mask) == pytest.approx(60)
    shaded = np.where(mask, 40, 100) + np.arange(SHAPE[0])[:, None]
    assert contrast(shaded.astype(np.uint8), mask) == pytest.approx(60, abs=2), "a gradient is no contrast"
    assert math.isnan(contrast(np.zeros(SHAPE, np.uint8), np.ones(SHAPE, bool)))
    assert math.isnan(contrast(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool)))
    assert contrast(np.zeros(SHAPE, np.uint8), filled_box(Box(0, 0, 40, 60), SHAPE)) == 0


def test_doubt_against_its_formula() -> None:
    rule = Rule()
    kept = [Measures(40, 0.9, 0.8), Measures(50, 0.95, 0.9), Measures(60, 0.92, 0.6)]
    doubt = rule.doubt(Measures(25, 0.84, 0.2), kept)
    parts = math.log(50 / 25) + math.log(0.16 / 0.08) + 0.4 * (math.log(0.8 / 0.2) - math.log(0.2 / 0.8))
    assert doubt == pytest.approx(parts)
    assert rule.reason(Measures(25, 0.84, 0.2), kept)
    alone = [Measures(each.contrast, each.agreement) for each in kept]
    assert rule.doubt(Measures(25, 0.84), alone) == pytest.approx(2 * math.log(2))
    assert "above 0.95" in rule.reason(Measures(25, 0.84), alone)
    assert rule.reason(Measures(45, 0.92), alone) == ""
    better = rule.doubt(Measures(50, 0.92, 0.99), kept)
    assert better == pytest.approx(0, abs=1e-9), "a score above the usual one is no evidence"
    invisible = [Measures(5, 0.9)]
    assert rule.doubt(Measures(-20, 0.9), invisible) == 0, "nor is contrast, where there never was any"
    assert rule.doubt(Measures(-20, 0.9), [Measures(50, 0.9)]) == pytest.approx(math.log(20))
