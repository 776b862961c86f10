"""SP-RG: region growing from the central superpixel over neighbours with similar grey levels.

The row SP-RG of the Flip Learning paper (MICCAI 2021, doi 10.1007/978-3-030-87193-2_47), described there only as
'superpixel-level region growing based on intensity distribution'. Superpixels and distance are the environment's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.tidy import tidy
from flipenv.config import EnvConfig
from flipenv.distance import wasserstein
from flipenv.episode import mask_on_image, prepare
from flipenv.types import Box, Case


def region_growing(
    image: NDArray[np.uint8], box: Box, *, theta: float = 60.0, cell_area: float = 75.0
) -> NDArray[np.bool_]:
    """One component without holes in the box, mask (height, width); empty only if narrower than a pixel.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        theta: grey levels; the region keeps adding the neighbour nearest in Wasserstein-1 distance while that is
            below theta.
        cell_area: px² per superpixel, on the environment's default canvas.
    """
    episode = prepare(Case(image, box), EnvConfig(cell_area=cell_area))
    inside = episode.labels[episode.area.rows, episode.area.columns]
    seed = int(inside[inside.shape[0] // 2, inside.shape[1] // 2])
    region = grow(episode.histograms, neighbours(inside, episode.n_superpixels), seed, theta)
    return tidy(mask_on_image((episode.labels >= 0) & region[episode.labels], episode.geometry))


def grow(histograms: NDArray[np.integer], touch: NDArray[np.bool_], seed: int, theta: float) -> NDArray[np.bool_]:
    """Superpixels of the grown region, (S,) bool, from cumulative histograms (S, K) and adjacency `touch` (S, S)."""
    region: NDArray[np.bool_] = np.arange(len(histograms)) == seed
    while (rim := np.flatnonzero(touch[region].any(axis=0) & ~region)).size:
        apart = wasserstein(histograms[rim], histograms[region].sum(axis=0))
        if apart.min() >= theta:
            break
        region[rim[apart.argmin()]] = True
    return region


def neighbours(labels: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """Adjacency of `count` superpixels by shared edges, (S, S) bool, symmetric; labels (h, w) in 0..S-1."""
    touch = np.zeros((count, count), np.bool_)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touch[one, other] = touch[other, one] = True
    return touch
