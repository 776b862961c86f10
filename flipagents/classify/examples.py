"""Pictures that teach a classifier: sites with superpixels erased and patches pasted in, and how much nodule is left.

All that is done to nodule sites (superpixels erased, patches pasted) is done to empty sites too, so that a seam tells
nothing about the class.

The target of an example is the share of the nodule that is left, where the ellipse inscribed in the box stands for the
nodule: no mask is read. Fed with whole nodules as 1 and with everything else as 0, a classifier jumps somewhere on the
way; fed with shares, it falls as the nodule is erased, which is what a reward needs.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.classify.sites import PatchConfig, Sites
from flipenv.pixels import Grey


def draw(sites: Sites, count: int, config: PatchConfig, rng: np.random.Generator) -> tuple[Grey, NDArray[np.float32]]:
    """Make `count` examples: canvases (count, H, W) uint8 and targets (count,) float32 in [0, 1]."""
    shows = sites.with_nodule
    nodules, empties = np.flatnonzero(shows), np.flatnonzero(~shows)
    kinds = rng.choice(4, count, p=np.array(config.mix) / sum(config.mix))
    canvases, targets = np.empty((count, *sites.image.shape[1:]), np.uint8), np.empty(count, np.float32)
    for row, kind in enumerate(kinds):
        site = int(rng.choice(empties if kind == 3 else nodules))
        erased = _erased_pixels(sites, site, int(kind), rng)
        canvas = np.where(erased, sites.background[site], sites.image[site])
        nodule = sites.nodule[site]
        left = 1 - (nodule & erased).sum() / max(nodule.sum(), 1) if nodule.any() else 0.0
        if rng.random() < config.pastes:
            # on what is left of a nodule a paste would be an erasure, and the target would have to say so
            canvas = pasted(sites, site, rng, canvas, nodule if left > 0 else None)
        canvases[row] = _restyled(canvas, config, rng)
        targets[row] = float(left >= 0.5) if config.target == "hard" else left
    return canvases, targets


def erasing_order(centers: NDArray[np.int16], how: str, rng: np.random.Generator | None = None) -> NDArray[np.intp]:
    """Order (S,) in which superpixels are erased.

    `radial` from the middle outwards, in the area's own proportions; `index` as two agents of the paper walk, from S/2
    up and down; `inwards` is `radial` backwards; `blob` grows around a random superpixel; `scattered` is random.
    """
    places = centers.astype(np.float64)
    size = np.maximum(np.ptp(places, axis=0), 1)
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    if how == "index":
        return np.argsort(np.abs(np.arange(len(places)) - (len(places) - 1) // 2), kind="stable")
    if how == "scattered":
        assert rng is not None
        return rng.permutation(len(places))
    if how == "blob":
        assert rng is not None
        middle = places[rng.integers(len(places))]
    distance = (((places - middle) / size) ** 2).sum(axis=1)
    if rng is not None:
        distance = distance * np.exp(rng.normal(0, rng.uniform(0, 0.5), len(places)))
    order = np.argsort(distance, kind="stable")
    return order[::-1] if how == "inwards" else order


def pixels_of(chosen: NDArray[np.integer], labels: NDArray[np.int16], count: int) -> NDArray[np.bool_]:
    """Pixels (H, W) of the chosen ones among `count` superpixels."""
    table = np.zeros(count + 1, np.bool_)
    table[chosen] = True
    table[-1] = False  # label -1: outside the area
    hit: NDArray[np.bool_] = table[labels]
    return hit


def _erased_pixels(sites: Sites, site: int, kind: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """What is erased in an example: of a whole nodule at most what lies around it, of an empty site anything."""
    labels, count = sites.labels[site], len(sites.centers[site])
    if (kind == 2 and rng.random() < 0.5) or (kind == 3 and rng.random() < 0.15):
        return pixels_of(np.arange(count), labels, count)
    if kind in (0, 2):
        inside = labels >= 0
        covered = np.bincount(labels[inside], sites.nodule[site][inside], count)
        share = covered / np.maximum(np.bincount(labels[inside], minlength=count), 1)
        if kind == 2:
            return pixels_of(np.flatnonzero(share > 0.3), labels, count)
        around = np.flatnonzero((share < 0.2) & (rng.random(count) < rng.choice([0.0, 0.5, 1.0], p=[0.6, 0.2, 0.2])))
        return pixels_of(around, labels, count)
    if kind == 3 and rng.random() < 0.4:
        return np.zeros(labels.shape, np.bool_)
    how = ("radial", "inwards", "index", "blob", "scattered")[rng.integers(5)]
    order = erasing_order(sites.centers[site], how, rng)
    return pixels_of(order[: round(rng.uniform(0.03, 0.97) * count)], labels, count)


def pasted(
    sites: Sites,
    site: int,
    rng: np.random.Generator,
    canvas: Grey | None = None,
    spared: NDArray[np.bool_] | None = None,
) -> Grey:
    """Paste tissue of another place or image into a canvas (H, W), by default the site's image.

    One to three pastes, in boxes and in superpixels, with and without a smooth rim; `spared` (H, W) stays as it is.
    """
    canvas = sites.image[site] if canvas is None else canvas
    spared = np.zeros(canvas.shape, np.bool_) if spared is None else spared
    empties = np.flatnonzero(~sites.with_nodule)
    height, width = canvas.shape
    for _ in range(int(rng.integers(1, 4))):
        own = rng.random() < 0.5
        tissue = sites.background[sites.first[site]] if own else sites.image[rng.choice(empties)]
        tissue = np.roll(tissue, (int(rng.integers(-height // 8, height // 8 + 1)), int(rng.integers(width))), (0, 1))
        shape = np.zeros(canvas.shape, np.bool_)
        if rng.random() < 0.5:
            rows, columns = (int(rng.uniform(0.1, 0.6) * side) for side in (height, width))
            top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
            shape[top : top + rows, left : left + columns] = True
        else:
            other = int(rng.integers(len(sites)))
            order = erasing_order(sites.centers[other], "blob", rng)
            cells = order[: max(round(rng.uniform(0.02, 0.5) * len(order)), 1)]
            shape = pixels_of(cells, sites.labels[other], len(order))
            shape = np.roll(shape, (int(rng.integers(height)), int(rng.integers(width))), (0, 1))
        shape &= ~spared
        canvas = np.where(shape, tissue, canvas)
        if rng.random() < 0.5:
            rim = cv2.morphologyEx(shape.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
            canvas = np.where(rim & ~spared, cv2.blur(canvas, (5, 5)), canvas)
    return canvas


def _restyled(canvas: Grey, config: PatchConfig, rng: np.random.Generator) -> Grey:
    """Another examination of the same tissue: mirrored left-right, other gain and gamma, other speckle."""
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    gain = 1 + rng.uniform(-config.gain, config.gain)
    curve = gain * 255 * (np.arange(256) / 255) ** np.exp(rng.uniform(-config.gamma, config.gamma))
    grey = np.asarray(curve, np.float32)[canvas]
    deviation = np.float32(rng.uniform(0, config.speckle))
    if deviation > 0:
        half = rng.random() < 0.5
        shape = (grey.shape[0] // 2, grey.shape[1] // 2) if half else grey.shape
        noise = rng.standard_normal(shape, dtype=np.float32)
        grey = grey * (1 + deviation * (cv2.resize(noise, grey.shape[::-1]) if half else noise))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
