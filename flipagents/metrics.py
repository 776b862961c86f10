"""How good a mask is: overlap and boundary distances, and intervals of their means over cases.

Masks are bool arrays (height, width) of one shape. Distances are in px. The boundary of a mask is the set of its pixels
with a 4-neighbour outside the mask; beyond the picture's edge counts as outside.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flipenv.errors import ConfigError, MaskError
from flipenv.pixels import Mask

Empty = Literal["nan", "zero"]
BOOTSTRAPPED = 2**20  # values drawn at once


def dice(predicted: Mask, truth: Mask) -> float:
    """Dice coefficient, 0..1; two empty masks agree: 1. Raises MaskError when the masks do not fit together."""
    _check(predicted, truth)
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def jaccard(predicted: Mask, truth: Mask) -> float:
    """Intersection over union, 0..1; two empty masks agree: 1. Raises MaskError as `dice` does."""
    overlap = dice(predicted, truth)
    return overlap / (2 - overlap)


def conformity(predicted: Mask, truth: Mask) -> float:
    """(3 Dice - 2) / Dice (Chang et al. 2009, doi 10.1016/j.neuroimage.2009.03.068): at most 1, -inf where Dice is 0.

    One bad case outweighs all others in a mean: show the median too. Raises MaskError as `dice` does.
    """
    overlap = dice(predicted, truth)
    return (3 * overlap - 2) / overlap if overlap else -math.inf


class Distances(NamedTuple):
    """Distances between the boundaries of two masks, px; see `distances`."""

    hausdorff: float
    hausdorff95: float
    average: float


def distances(predicted: Mask, truth: Mask, *, empty: Empty = "nan") -> Distances:
    """All boundary distances at once: each is as costly as all three.

    `hausdorff` is the largest distance in px from a boundary pixel of either mask to the other's boundary;
    `hausdorff95` the larger of the two directions' 95th percentiles (interpolated linearly); `average` the mean over
    the boundary pixels of both masks. Where a mask is empty there is no distance: NaN, or 0 with `empty="zero"`, which
    flatters a method that finds nothing and is only there to reproduce tables made that way. Raises MaskError as `dice`
    does, ConfigError for another word in `empty`.
    """
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 - optional: overlap needs no SciPy

    _check(predicted, truth)
    if empty not in ("nan", "zero"):
        raise ConfigError(f"empty={empty!r} is unknown; expected 'nan' or 'zero'")
    if not predicted.any() or not truth.any():
        nothing = 0.0 if empty == "zero" else math.nan
        return Distances(nothing, nothing, nothing)
    ours, theirs = boundary(predicted), boundary(truth)
    there, back = distance_transform_edt(~theirs)[ours], distance_transform_edt(~ours)[theirs]
    return Distances(
        hausdorff=float(max(there.max(), back.max())),
        hausdorff95=float(max(np.quantile(there, 0.95), np.quantile(back, 0.95))),
        average=float(np.concatenate([there, back]).mean()),
    )


def hausdorff(predicted: Mask, truth: Mask, *, empty: Empty = "nan") -> float:
    """Hausdorff distance, the largest; see `distances`."""
    return distances(predicted, truth, empty=empty).hausdorff


def hausdorff95(predicted: Mask, truth: Mask, *, empty: Empty = "nan") -> float:
    """Hausdorff distance without the farthest twentieth of either boundary; see `distances`."""
    return distances(predicted, truth, empty=empty).hausdorff95


def average_surface_distance(predicted: Mask, truth: Mask, *, empty: Empty = "nan") -> float:
    """Average symmetric surface distance; see `distances`."""
    return distances(predicted, truth, empty=empty).average


class Interval(NamedTuple):
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(values: ArrayLike, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Interval:
    """Mean of one value a case, (N,), with its percentile bootstrap interval over cases.

    NaN, such as the distance of an empty mask, is left out; without any value all three numbers are NaN. Where a value
    is infinite there is a mean but no interval: NaN. Raises ConfigError for values that are not one row and for a level
    outside 0..1.
    """
    row = np.asarray(values, float)
    if row.ndim != 1:
        raise ConfigError(f"values have shape {row.shape}; expected one value a case, (N,)")
    if not 0 < level < 1:
        raise ConfigError(f"level={level} is no share of draws; expected a number between 0 and 1, such as 0.95")
    row = row[~np.isnan(row)]
    if not row.size:
        return Interval(math.nan, math.nan, math.nan)
    if not np.isfinite(row).all():
        return Interval(float(row.mean()), math.nan, math.nan)
    generator = np.random.default_rng(seed)
    rows = max(1, BOOTSTRAPPED // row.size)  # draws in memory at once
    means = np.concatenate(
        [
            row[generator.integers(0, row.size, (min(rows, draws - start), row.size))].mean(axis=1)
            for start in range(0, draws, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(row.mean()), float(low), float(high))


def paired_difference(
    values: ArrayLike, others: ArrayLike, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Mean of `values` - `others` (N,) over the same cases in the same order, with its interval as by `bootstrap`.

    A case where either value is NaN is left out. Raises ConfigError where the counts differ.
    """
    ours, theirs = np.asarray(values, float), np.asarray(others, float)
    if ours.shape != theirs.shape:
        raise ConfigError(f"{ours.shape} values against {theirs.shape}; expected one of each for every case")
    return bootstrap(ours - theirs, level=level, draws=draws, seed=seed)


def boundary(mask: Mask) -> Mask:
    """Pixels of the mask with a 4-neighbour outside it, (height, width) bool."""
    from scipy.ndimage import binary_erosion  # noqa: PLC0415 - optional

    rim: Mask = mask & ~binary_erosion(mask)
    return rim


def _check(predicted: Mask, truth: Mask) -> None:
    for name, mask in (("predicted", predicted), ("truth", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise MaskError(f"{name} mask is {mask.dtype} of shape {mask.shape}; expected bool (height, width)")
    if predicted.shape != truth.shape:
        raise MaskError(f"predicted mask is {predicted.shape}, truth {truth.shape}; expected one shape")
