"""How good a mask probably is: its predicted Dice with an interval, and the reasons to look at it.

A method's map says by itself how sure its mask is. `features` measures that on the map, on other maps of the same
nodule and on the image; a calibration (`flipagents.segment.calibration`), fitted to true masks, turns the features into
a Dice. Without one, the value is the soft agreement of mask and map, which orders masks alike but is some hundredths
too high. Both hold for boxes that fit a nodule: a box beside it may get a smooth and wrong mask, which only the reasons
can tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.segment.answer import Answer
from flipagents.segment.calibration import Calibration, calibration_of
from flipenv.episode import grow_box
from flipenv.errors import ConfigError
from flipenv.pixels import Grey
from flipenv.types import Box

UNSURE = 0.85  # predicted Dice below which the outline is marked
FLAT = 0.20  # contrast below which there is probably no nodule in the box
LOW = 2.75  # of the evidence below which the box is probably off, see `_evidence`
ELSEWHERE = 0.826  # agreement with the locator below which the box is probably off

AROUND = 0.25  # share of the box's sides measured around it
SIDE = 96  # px, about the side of the picture on which features are measured
RING = 0.06  # width of the ring around the mask, share of the square root of its area
LOCATOR = "locator"  # opinion that tells a misplaced box, and is no feature of the calibration
_NEAR_ONE = 0.999  # agreements are not told apart above this

_Part = NDArray[np.float32]


@dataclass(frozen=True)
class Quality:
    """How good one mask probably is."""

    value: float  # predicted Dice, 0..1; without calibration the soft agreement of mask and map
    low: float | None = None  # 90% interval of the Dice, 0..1; None without calibration
    high: float | None = None
    calibrated: bool = False  # whether value and interval were fitted to true masks
    reasons: tuple[str, ...] = ()  # to look at the mask, see `flipagents.formats.quality_csv.REASONS`


@dataclass(frozen=True)
class Gauge:
    """Rates the answers of one method.

    calibration: of this method with these weights; None rates by the soft agreement alone.
    """

    calibration: Calibration | None = None

    @classmethod
    def of(cls, folder: Path, method: str, file: Path | None = None) -> Gauge:
        """The gauge of a method with the weights in a folder; see `flipagents.segment.calibration.calibration_of`."""
        return cls(calibration_of(folder, method, file))

    def rate(self, image: Grey, answer: Answer) -> Quality | None:
        """Rate an answer about an image (height, width) uint8; None if it has no map. An empty mask has the value 0.

        About a millisecond for an image of 500 x 600 px.
        """
        if not answer.mask.any():
            return Quality(0.0, reasons=("empty",))
        if answer.map is None:
            return None
        seen = features(image, answer.box, answer)
        if self.calibration is None:
            value, low, high = 1 - float(np.exp(-seen["agreement"])), None, None
        else:
            value, low, high = self.calibration.predict(seen)
            if answer.by_hand:  # calibrated on masks that nobody changed; a wrong click looks as sure as a right one
                low = high = None
        reasons = [*_about_the_box(seen), *(["outline-unsure"] if value < UNSURE else [])]
        return Quality(value, low, high, low is not None, tuple(reasons))


def features(image: Grey, box: Box, answer: Answer) -> dict[str, float]:
    """What tells a good mask from a bad one, by name; each is higher for better masks.

    Measured in the box and a quarter of its sides around it, on about 96 x 96 px, so that the size does not matter.
    `agreement` is the soft Dice of mask and map, `agreement_NAME` of mask and another map, as -log(1 - Dice);
    `maps_agree` that of the maps `rule` and `network`; `sure` -log of the map's variance, summed, per px of the mask;
    `reach` the share of the box that the mask's own box takes; `contrast` the mean grey level of a ring around the mask
    minus that of the mask, by the sum of their standard deviations; 0 for an empty mask. Raises ConfigError for an
    answer without a map.
    """
    if answer.map is None:
        raise ConfigError("the answer has no map, from which features are measured; use contour, flip or flip+student")
    around = grow_box(box, max(round(AROUND * max(box.height, box.width)), 1), image.shape)
    scale = min(1.0, SIDE / (around.height * around.width) ** 0.5)
    size = max(round(scale * around.width), 8), max(round(scale * around.height), 8)

    def small(picture: NDArray[np.generic]) -> _Part:
        part = np.ascontiguousarray(picture[around.rows, around.columns], np.float32)
        return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)

    grey, mask, seen = small(image), small(answer.mask), small(answer.map)
    others = {name: small(opinion) for name, opinion in answer.opinions.items()}
    found = {"agreement": _agreement(mask, seen)}
    found |= {f"agreement_{name}": _agreement(mask, other) for name, other in others.items()}
    if "rule" in others and "network" in others:
        found["maps_agree"] = _agreement(others["rule"], others["network"])
    area = max(float(mask.sum()), 1.0)
    found["sure"] = -float(np.log(max(float((seen * (1 - seen)).sum()) / area, 1e-4)))
    found["reach"] = _reach(answer.mask[box.rows, box.columns])
    found["contrast"] = _contrast(grey, mask > 0.5)
    return found


def _agreement(ours: _Part, theirs: _Part) -> float:
    """-log(1 - soft Dice): differences near 1 count as much as they matter."""
    total = float(ours.sum()) + float(theirs.sum())
    dice = 2 * float((ours * theirs).sum()) / total if total else 0.0
    return -float(np.log1p(-min(dice, _NEAR_ONE)))


def _reach(inside: NDArray[np.bool_]) -> float:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return 0.0
    return float((rows[-1] + 1 - rows[0]) * (columns[-1] + 1 - columns[0]) / inside.size)


def _contrast(grey: _Part, mask: NDArray[np.bool_]) -> float:
    outside = (~mask).astype(np.uint8)
    if not mask.any() or not outside.any():
        return 0.0
    width = max(RING * float(mask.sum()) ** 0.5, 1.5)
    ring = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
    within, around = grey[mask], grey[(ring > 0) & (ring <= width)]
    return float((around.mean() - within.mean()) / (around.std() + within.std() + 1))


def _about_the_box(seen: dict[str, float]) -> list[str]:
    """Whether the box shows no nodule or lies beside one; without the locator at most one of both can be told."""
    is_flat = seen["contrast"] < FLAT
    located = seen.get(f"agreement_{LOCATOR}")
    is_off = not is_flat and _evidence(seen) < LOW if located is None else 1 - np.exp(-located) < ELSEWHERE
    return [*(["no-nodule"] if is_flat else []), *(["box-off"] if is_off else [])]


def _evidence(seen: dict[str, float]) -> float:
    """What speaks for a box that fits, without the locator: an outline that is sure, around something darker."""
    return seen["agreement"] + 1.3 * seen["contrast"]
