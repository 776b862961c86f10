"""The threshold of the intensity reward, set from boxes alone.

Near the centre of a box nearly everything is nodule. How far the grey levels of these superpixels are from what was
erased before tells which threshold flags few of them; no mask is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flipenv.distance import wasserstein
from flipenv.errors import SourceError
from flipenv.types import Episode

if TYPE_CHECKING:
    from flipenv.pool import EpisodePool

CORE = 0.6  # radii of the box's ellipse within which superpixels belong to the core
SHARES = (0.02, 0.7)  # of the superpixels erased before: least and largest
SETS = 8  # random sets of erased superpixels per episode
EPISODES = 256  # of the pool, evenly spaced, at most


def radii(episode: Episode) -> NDArray[np.float64]:
    """Distance of each superpixel's centre from the box's centre, (S,), in radii of the inscribed ellipse."""
    box = episode.box
    centre = np.array([box.top + box.bottom, box.left + box.right]) / 2
    offset = episode.centers + 0.5 - centre
    radius: NDArray[np.float64] = np.hypot(offset[:, 0] / (box.height / 2), offset[:, 1] / (box.width / 2))
    return radius


def core_distances(pool: EpisodePool, *, seed: int = 0) -> NDArray[np.float64]:
    """Distances (n,) in grey levels between superpixels of the core and random sets of superpixels erased before.

    Multiplied by the episode's gain, as Eq. 2 compares them with theta. SourceError if no box has a core.
    """
    draw = np.random.default_rng(seed)
    chosen = np.unique(np.linspace(0, len(pool) - 1, min(len(pool), EPISODES)).round().astype(int))
    found = [each for index in chosen for each in _of(pool.episode(int(index)), draw)]
    if not found:
        raise SourceError(
            "theta cannot be set from these boxes: none has two superpixels, one of them near its centre; choose a "
            "smaller cell_area, or give theta in grey levels"
        )
    return np.concatenate(found)


def theta_from_boxes(pool: EpisodePool, quantile: float, *, seed: int = 0) -> float:
    """The threshold in grey levels below which this share of the `core_distances` lies."""
    return float(np.quantile(core_distances(pool, seed=seed), quantile))


def _of(episode: Episode, draw: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    core = np.flatnonzero(radii(episode) < CORE)
    for share in draw.uniform(*SHARES, SETS):
        erased = draw.random(episode.n_superpixels) < share
        rest = core[~erased[core]]
        if erased.any() and rest.size:
            before = episode.histograms[erased].sum(0, dtype=np.int64)
            yield wasserstein(before[None, :], episode.histograms[rest]) * episode.deviation_gain
