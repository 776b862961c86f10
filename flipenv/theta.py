"""The threshold of the intensity reward, set from boxes alone.

Near the centre of a box nearly everything is nodule. How far the grey levels of these superpixels are from what was
erased before tells which threshold flags few of them; no mask is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flipenv.channels import elliptic_radius
from flipenv.config import QUANTILE
from flipenv.distance import wasserstein
from flipenv.errors import SourceError
from flipenv.types import Box, Episode

if TYPE_CHECKING:
    from flipenv.pool import EpisodePool

CORE = 0.6  # radii of the box's ellipse within which superpixels belong to the core
SHARES = (0.02, 0.7)  # of the superpixels erased before: least and largest
SETS = 8  # random sets of erased superpixels per episode
TYPICAL_DISTANCE = 50.0  # grey levels; about the QUANTILE of the distances in the cores of BUSI's training boxes
EPISODES = 256  # of the pool, evenly spaced, at most


def radii(episode: Episode) -> NDArray[np.float64]:
    """Distance of each superpixel's centre from the box's centre, (S,), in radii of the inscribed ellipse."""
    return radii_of(episode.centers, episode.box)


def radii_of(centers: NDArray[np.integer], box: Box) -> NDArray[np.float64]:
    """The same for centres (S, 2), row and column on the canvas, and the box there."""
    return elliptic_radius(centers[:, 0], centers[:, 1], box)


def core_distances(pool: EpisodePool, *, seed: int = 0) -> NDArray[np.float64]:
    """Distances (n,) in grey levels between superpixels of the core and random sets of superpixels erased before.

    Multiplied by the episode's gain, as Eq. 2 compares them with theta. SourceError if no box has a core.
    """
    draw = np.random.default_rng(seed)
    chosen = np.unique(np.linspace(0, len(pool) - 1, min(len(pool), EPISODES)).round().astype(int))
    found = []
    for index in chosen.tolist():
        episode = pool.episode(index)
        own = distances_within(episode.histograms, radii(episode), draw)
        found.append(own * episode.deviation_gain)
    distances = np.concatenate(found)
    if not distances.size:
        raise SourceError(
            "theta cannot be set from these boxes: none has two superpixels, one of them near its centre; choose a "
            "smaller cell_area, or give theta in grey levels"
        )
    return distances


def theta_from_boxes(pool: EpisodePool, quantile: float, *, seed: int = 0) -> float:
    """The threshold in grey levels below which this share of the `core_distances` lies."""
    return float(np.quantile(core_distances(pool, seed=seed), quantile))


def core_gain(histograms: NDArray[np.integer], radius: NDArray[np.float64]) -> float:
    """Factor that brings the box's own quantile of distances in its core to TYPICAL_DISTANCE; 1 without a core."""
    distances = distances_within(histograms, radius, np.random.default_rng(0))
    return TYPICAL_DISTANCE / max(float(np.quantile(distances, QUANTILE)), 1.0) if distances.size else 1.0


def distances_within(
    histograms: NDArray[np.integer], radius: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float64]:
    """Distances (n,) of core superpixels of one box from random sets; histograms (S, K) are cumulative."""
    core, found = np.flatnonzero(radius < CORE), [np.zeros(0)]
    for share in draw.uniform(*SHARES, SETS):
        erased = draw.random(len(radius)) < share
        rest = core[~erased[core]]
        if erased.any() and rest.size:
            before = histograms[erased].sum(0, dtype=np.int64)
            found.append(wasserstein(before[None, :], histograms[rest]))
    return np.concatenate(found)
