"""Refine a nodule map by the image's own grey levels: inside against around the nodule."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.episode import grow_box
from flipenv.types import Box

WEIGHT = 0.5  # of the grey levels' log-ratio, added to the map's log-odds
LIMIT = 2.0  # largest |log-ratio|: no grey level is decisive by itself
BLUR = 0.03  # sigma of the image's smoothing, share of the square root of the box's area
RIM = 0.2  # width of the surroundings, share of the box's sides
BINS, SPREAD = 64, 1.5  # of the histograms, and the sigma in bins by which they are smoothed


def refine(
    seen: NDArray[np.float32], image: NDArray[np.uint8], box: Box, weight: float = WEIGHT
) -> NDArray[np.float32]:
    """Update a map (height, width) float32 in 0..1 by the grey levels: p -> sigmoid(logit p + weight * ratio).

    The ratio is the log-likelihood ratio of the smoothed image's grey level inside against outside, both weighted by
    the map itself, in the box and a rim around it; nothing beyond the rim changes.
    """
    size = (box.height * box.width) ** 0.5
    around = grow_box(box, max(round(RIM * size), 1), image.shape)
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(BLUR * size, 0.1))[around.rows, around.columns]
    part = np.clip(seen[around.rows, around.columns], 1e-3, 1 - 1e-3)
    bins = np.minimum(smooth * (BINS / 256), BINS - 1).astype(int)
    ratio = np.log(_histogram(bins, part) / _histogram(bins, 1 - part))
    odds = np.log(part / (1 - part)) + weight * np.clip(ratio, -LIMIT, LIMIT)[bins]
    refined = seen.copy()
    refined[around.rows, around.columns] = 1 / (1 + np.exp(-odds))
    return refined


def _histogram(bins: NDArray[np.int_], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Smoothed relative frequencies (BINS,), none of them 0."""
    counts = np.bincount(bins.ravel(), weights.ravel(), BINS)
    smooth = cv2.GaussianBlur(counts[None], (0, 0), SPREAD)[0] + 1e-3 * counts.sum()
    return np.asarray(smooth / smooth.sum())
