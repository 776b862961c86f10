"""How far predicted Dice can be trusted: order, error, coverage of the intervals, and risk against coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flipagents.compare.scoring import CaseScore


@dataclass(frozen=True)
class Reliability:
    """One method's predicted Dice against its true Dice; the risk of a mask is 1 - Dice."""

    n: int  # masks with a predicted Dice
    calibrated: int  # of them with an interval
    spearman: float  # rank correlation of predicted and true Dice; NaN for fewer than two values
    error: float  # mean absolute error of the predicted Dice
    coverage: float  # share of the intervals that hold the true Dice; NaN without intervals
    width: float  # mean width of the intervals; NaN without
    area: float  # under the risk-coverage curve, see `risk_curve`
    perfect: float  # the same if the masks were ordered by their true Dice
    random: float  # the same for a random order: the mean risk


def reliability(
    value: ArrayLike, dice: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> Reliability:
    """Compare predicted and true Dice, (N,) each with N > 0; low, high: the intervals, NaN where there is none."""
    ours, truth = np.asarray(value, float), np.asarray(dice, float)
    none = np.full(len(ours), math.nan)
    lows, highs = (none if side is None else np.asarray(side, float) for side in (low, high))
    known = ~np.isnan(lows)
    within = (lows <= truth) & (truth <= highs)
    return Reliability(
        n=len(ours),
        calibrated=int(known.sum()),
        spearman=spearman(ours, truth),
        error=float(np.abs(ours - truth).mean()),
        coverage=float(within[known].mean()) if known.any() else math.nan,
        width=float((highs - lows)[known].mean()) if known.any() else math.nan,
        area=float(risk_curve(ours, truth).mean()),
        perfect=float(risk_curve(truth, truth).mean()),
        random=float(1 - truth.mean()),
    )


def reliabilities(scores: Sequence[CaseScore]) -> dict[str, Reliability]:
    """Reliability of each method with a quality, over all its rows."""
    found = {}
    for method in dict.fromkeys(score.method for score in scores):
        own = [score for score in scores if score.method == method and score.quality is not None]
        if own:
            columns = ([_number(getattr(row, name)) for row in own] for name in ("quality", "dice", "low", "high"))
            found[method] = reliability(*columns)
    return found


def risk_curve(value: ArrayLike, dice: ArrayLike) -> NDArray[np.float64]:
    """Mean 1 - Dice of the k masks with the highest values, for k = 1 to N, (N,); ties in the mean over their orders.

    Source: Geifman and El-Yaniv 2017, Selective classification for deep neural networks, arXiv:1705.08500.
    """
    ours, risk = np.asarray(value, float), 1 - np.asarray(dice, float)
    _, place = np.unique(-ours, return_inverse=True)
    shared = np.bincount(place, risk) / np.bincount(place)  # mean risk of masks with equal values
    return np.asarray(np.cumsum(shared[np.sort(place)]) / np.arange(1, len(ours) + 1))


def spearman(values: ArrayLike, others: ArrayLike) -> float:
    """Rank correlation of two rows (N,), ties at their mean rank; NaN if one of them is constant."""
    ours, theirs = (_ranks(np.asarray(row, float)) for row in (values, others))
    spread = float(ours.std() * theirs.std())
    return float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / spread) if spread else math.nan


def _ranks(row: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _number(value: float | None) -> float:
    return math.nan if value is None else value
