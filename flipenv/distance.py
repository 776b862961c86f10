"""Distance between two grey-level distributions: Wasserstein-1 of cumulative histograms."""

from __future__ import annotations

from array_api_compat import array_namespace

from flipenv.types import Array


def wasserstein(first: Array, second: Array) -> Array:
    """Return the Wasserstein-1 distance in grey levels between cumulative histograms (..., K): (...) float64.

    Entry k counts the pixels with grey level <= k, so the last entry is the number of pixels, and histograms of
    disjoint regions add up. The sum is over integers: every array library returns the same bits, as the comparison
    with a threshold requires. If a histogram is empty, the distance is 0.

    Source: for distributions on a line W1 is the area between their cumulative distributions (Vallender 1974,
    doi 10.1137/1118101).
    """
    xp = array_namespace(first, second)
    first, second = xp.astype(first, xp.int64), xp.astype(second, xp.int64)
    pixels, others = first[..., -1], second[..., -1]
    area = xp.sum(xp.abs(first * others[..., None] - second * pixels[..., None]), axis=-1)
    scale = pixels * others
    return xp.astype(area, xp.float64) / xp.astype(xp.where(scale > 0, scale, xp.ones_like(scale)), xp.float64)
