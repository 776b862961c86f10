"""Checks of the nodule score: is it calibrated, does it respond to nodules rather than seams, does it track erasing.

Only boxes are used, no masks. `check` runs everything on sites as the environment makes them; `figures` plots it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.classify.examples import erasing_order, pasted, pixels_of
from flipagents.classify.sites import Sites
from flipenv.errors import ConfigError
from flipenv.scorer import Scorer

Floats = NDArray[np.float64]
SHARES = tuple(
    step / 20 for step in range(21)
)  # erased shares of the box's superpixels at which the score is evaluated
ORDERS = ("radial", "index")
TEMPERATURES = (0.05, 20.0)
BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Reliability diagram: share of nodules per score bin. K bins of equal width from 0 to 1; NaN for empty bins."""

    score: Floats  # (K,) mean score
    share: Floats  # (K,) share of nodules
    count: NDArray[np.int64]  # (K,)
    weight: Floats  # (K,) the count, unless sites were weighted

    @property
    def ece(self) -> float:
        """Expected calibration error: mean |score - share|, weighted by bin (Guo et al. 2017, Eq. 3)."""
        return float(np.nansum(self.weight * np.abs(self.score - self.share)) / max(self.weight.sum(), 1e-12))


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Temperature T that minimises the mean cross entropy of sigmoid(logits / T) against labels in [0, 1].

    Guo et al. 2017, arXiv 1706.04599, section 4.2. The loss is convex in 1 / T, so bisection of its slope finds it. T
    is limited to 0.05..20: perfectly separated labels would drive it to 0. ConfigError without logits.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if logits.size == 0 or logits.shape != labels.shape:
        raise ConfigError(
            f"logits {logits.shape} and labels {labels.shape}; expected one label per logit, at least one"
        )
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(60):
        middle = (low + high) / 2
        slope = np.average(logits * (sigmoid(middle * logits) - labels), weights=weights)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(2 / (low + high))


def reliability(
    scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None, bins: int = BINS
) -> Reliability:
    """Bin scores (N,) in [0, 1] and labels (N,) of 0 and 1."""
    scores, weights = np.asarray(scores, np.float64), np.ones(len(scores)) if weights is None else weights
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    weight = np.asarray(np.bincount(place, weights, bins), np.float64)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(place, weights * values, bins) / weight for values in (scores, labels))
    return Reliability(mean, share, np.bincount(place, minlength=bins), weight)


def evened(labels: NDArray[Any]) -> Floats:
    """Weights (N,) that balance the two classes: the number of empty sites is arbitrary."""
    nodules = np.asarray(labels) > 0.5
    share = float(nodules.mean())
    return np.asarray(np.where(nodules, 0.5 / max(share, 1e-12), 0.5 / max(1 - share, 1e-12)), np.float64)


def auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve: probability that a nodule (label 1) scores above a non-nodule. NaN without both."""
    scores, nodules = np.asarray(scores, np.float64), np.asarray(labels) > 0.5
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    positive, negative = int(nodules.sum()), int((~nodules).sum())
    if positive == 0 or negative == 0:
        return float("nan")
    return float((rank[nodules].sum() - positive * (positive + 1) / 2) / (positive * negative))


def sigmoid(logits: NDArray[Any]) -> Floats:
    """Logistic function without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(logits, np.float64) / 2)))


@dataclass(frozen=True, eq=False)
class Checks:
    """Results of the checks. N nodule sites, M empty sites, each as the environment shows it at the start."""

    whole: Floats  # (N,) score of untouched nodule sites
    erased: Floats  # (N,) with the whole area erased
    empty: Floats  # (M,) untouched tissue without a nodule
    seams: Floats  # (M,) the same with random superpixels erased: any response is to seams
    pastes: Floats  # (M,) the same with boxes and superpixels of other tissue pasted in
    curves: dict[str, Floats]  # order -> (N, len(SHARES)) score as superpixels are erased

    @property
    def scores(self) -> Floats:
        """Scores of all sites that clearly belong to one class, (2 N + M,)."""
        return np.concatenate([self.whole, self.erased, self.empty])

    @property
    def labels(self) -> Floats:
        """1 for nodule, 0 for tissue without one; empty or erased, (2 N + M,)."""
        return np.concatenate([np.ones(len(self.whole)), np.zeros(len(self.erased) + len(self.empty))])

    @property
    def reliability(self) -> Reliability:
        """Reliability of those scores, classes balanced."""
        return reliability(self.scores, self.labels, evened(self.labels))

    def numbers(self) -> dict[str, Any]:
        """Plain data for a report; all scores in 0..1. `rises`: share of the curves' steps that rise by > 0.02."""
        sites = np.concatenate([self.whole, self.empty])
        classes = np.concatenate([np.ones(len(self.whole)), np.zeros(len(self.empty))])
        curves = {
            how: {
                "erased": list(SHARES[::5]),
                **{name: _rounded(np.quantile(curve, q, axis=0)[::5]) for name, q in QUARTILES},
                "rises": round(float((np.diff(curve, axis=1) > 0.02).mean()), 4),
            }
            for how, curve in self.curves.items()
        }
        return {
            "nodules": len(self.whole),
            "empties": len(self.empty),
            "accuracy": round(float(((sites >= 0.5) == classes).mean()), 4),
            "auc": round(auc(sites, classes), 4),
            "accuracy_with_erased": round(float(((self.scores >= 0.5) == self.labels).mean()), 4),
            "auc_with_erased": round(auc(self.scores, self.labels), 4),
            "ece": round(self.reliability.ece, 4),
            **{
                name: {"mean": round(float(value.mean()), 4), "p95": round(float(np.quantile(value, 0.95)), 4)}
                for name, value in (
                    ("whole", self.whole),
                    ("erased", self.erased),
                    ("empty", self.empty),
                    ("seams", self.seams),
                    ("pastes", self.pastes),
                )
            },
            "curves": curves,
        }


QUARTILES = (("lower", 0.25), ("median", 0.5), ("upper", 0.75))


def check(scorer: Scorer, sites: Sites, seed: int = 0) -> Checks:
    """Score untouched, erased and pasted sites; sites as made with `PatchConfig.for_checks`."""
    rng = np.random.default_rng([seed, 3])
    shows = sites.with_nodule
    nodules, empties = np.flatnonzero(shows & sites.first_variants), np.flatnonzero(~shows)
    seams, pastes = [], []
    for site in empties:
        order = erasing_order(sites.centers[site], ("blob", "scattered")[rng.integers(2)], rng)
        hit = pixels_of(order[: max(round(rng.uniform(0.1, 0.9) * len(order)), 1)], sites.labels[site], len(order))
        seams.append(np.where(hit, sites.background[site], sites.image[site]))
        pastes.append(pasted(sites, int(site), rng))
    return Checks(
        whole=_scores(scorer, sites.image[nodules]),
        erased=_scores(scorer, sites.background[nodules]),
        empty=_scores(scorer, sites.image[empties]),
        seams=_scores(scorer, np.stack(seams)),
        pastes=_scores(scorer, np.stack(pastes)),
        curves={how: erasing_curves(scorer, sites, nodules, how) for how in ORDERS},
    )


def erasing_curves(scorer: Scorer, sites: Sites, which: NDArray[np.integer], how: str) -> Floats:
    """Score (len(which), len(SHARES)) as more and more superpixels are erased; `how` is an order of `erasing_order`."""
    rows = []
    for site in which:
        order = erasing_order(sites.centers[site], how)
        hits = [pixels_of(order[: round(share * len(order))], sites.labels[site], len(order)) for share in SHARES]
        rows.append(_scores(scorer, np.where(np.stack(hits), sites.background[site], sites.image[site])))
    return np.stack(rows) if rows else np.zeros((0, len(SHARES)))


def _scores(scorer: Scorer, canvases: NDArray[np.uint8]) -> Floats:
    return np.asarray(scorer(canvases), np.float64)


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]
