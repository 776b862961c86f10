"""Whether the nodule is still there, frame by frame: what a frame shows against the frames before it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.pixels import Grey, Mask

BAND = 0.12  # of the square root of the mask's area, width of the bands on both sides of its outline


@dataclass(frozen=True)
class Measures:
    """What tells whether a frame shows a nodule."""

    contrast: float  # grey levels, mean outside the outline minus mean inside; NaN without one of the two
    agreement: float  # 0..1, of the mask with a map that is not held to the box
    score: float | None = None  # 0..1, of the classifier; None without one


@dataclass(frozen=True)
class Rule:
    """When a nodule counts as gone: at `doubt` above a limit.

    Doubt is ln(c / contrast) + ln((1 - agreement) / (1 - a)) + `weight` * (logit s - logit score), with c, a and s the
    medians of the frames kept so far; a score above s counts nothing, and c below `visible` is no evidence. Chosen on
    24 phantom films (seeds from 100 on) with and 24 without fading: none is let go early, 23 of those that fade within
    3 frames with the classifier, 22 without.
    """

    limit: float = 1.65  # with a classifier
    limit_alone: float = 0.95  # without
    weight: float = 0.4  # of the classifier's log-odds
    visible: float = 8.0  # grey levels, least contrast that counts

    def doubt(self, now: Measures, kept: Sequence[Measures]) -> float:
        """How much speaks against a nodule in a frame, natural log; NaN where the contrast is not known."""
        usual, total = statistics.median(each.contrast for each in kept), 0.0
        if usual > self.visible:
            total += math.log(usual / max(now.contrast, LEAST * usual))
        apart = statistics.median(1 - each.agreement for each in kept)
        total += math.log(max(1 - now.agreement, EXACT) / max(apart, EXACT))
        scores = [each.score for each in kept if each.score is not None]
        if now.score is not None and scores:
            total += self.weight * max(_logit(statistics.median(scores)) - _logit(now.score), 0.0)
        return total

    def reason(self, now: Measures, kept: Sequence[Measures]) -> str:
        """Why a frame shows no nodule, in one line; "" where it does."""
        doubt, limit = self.doubt(now, kept), self.limit_alone if now.score is None else self.limit
        if doubt <= limit:
            return ""
        before = statistics.median(each.contrast for each in kept)
        apart = statistics.median(1 - each.agreement for each in kept)
        parts = [f"contrast {now.contrast:.0f} after {before:.0f} grey levels"]
        parts += [f"mask and map differ by {1 - now.agreement:.0%} after {apart:.0%}"]
        scores = [each.score for each in kept if each.score is not None]
        if now.score is not None and scores:
            parts += [f"classifier {now.score:.2f} after {statistics.median(scores):.2f}"]
        return f"{', '.join(parts)} (doubt {doubt:.2f} above {limit:g})"


LEAST = 0.05  # of the usual contrast, below which less is no further evidence
EXACT = 0.02  # difference of mask and map below which less is no further evidence
SURE = 0.01  # scores nearer to 0 or 1 are taken as this near


def agreement(seen: NDArray[np.float32], mask: Mask) -> float:
    """Dice of a map in 0..1 and a mask, both (height, width): 2 sum(map mask) / (sum map + sum mask); 0 without any."""
    total = float(seen.sum()) + int(mask.sum())
    return 2 * float(seen[mask].sum()) / total if total else 0.0


def contrast(image: Grey, mask: Mask) -> float:
    """Mean grey level in a band outside a mask's outline minus that in the band inside; NaN if a band is empty."""
    reach = max(int(BAND * math.sqrt(mask.sum())), 2)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    solid = mask.astype(np.uint8)
    outside, inside = (cv2.dilate(solid, disk) > 0) & ~mask, mask & ~(cv2.erode(solid, disk) > 0)
    if not outside.any() or not inside.any():
        return math.nan
    return float(image[outside].mean() - image[inside].mean())


def _logit(score: float) -> float:
    sure = min(max(score, SURE), 1 - SURE)
    return math.log(sure / (1 - sure))
