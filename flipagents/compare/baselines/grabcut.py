"""GrabCut: grey levels inside and outside as Gaussian mixtures, and the cheapest cut between them.

C. Rother, V. Kolmogorov, A. Blake, "GrabCut": interactive foreground extraction using iterated graph cuts, ACM
Transactions on Graphics 23(3):309-314, 2004, doi 10.1145/1015706.1015720. OpenCV's `grabCut`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.compare.baselines.smooth import box_size, smoothed
from flipagents.maps.geometry import ellipse_radius, filled_box
from flipagents.maps.tidy import tidy
from flipenv.episode import grow_box
from flipenv.types import Box

SEED = 0  # of the clusters with which OpenCV starts its mixtures


def grabcut(image: NDArray[np.uint8], box: Box, *, iterations: int = 5) -> NDArray[np.bool_]:
    """GrabCut told the rectangle alone: all of the image outside is background. Mask (height, width), often empty.

    Nodule and shadows elsewhere in the image look alike, so that much of the nodule passes for background. A box that
    is the whole image leaves no background: the mask is the box.
    """
    labels = np.where(filled_box(box, image.shape), cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    return _cut(image, labels, iterations)


def grabcut_fair(
    image: NDArray[np.uint8],
    box: Box,
    *,
    core: float = 0.9,
    rim: float = 0.4,
    blur: float = 0.0,
    iterations: int = 2,
) -> NDArray[np.bool_]:
    """GrabCut told what a tight box says; one piece without holes in the box, never empty.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        core: radius, in those of the ellipse inscribed in the box, up to which all is nodule for sure. The rest of the
            ellipse is probably nodule, the rest of the box probably not.
        rim: width of the ring around the box that stands for the background, share of the box's size (square root
            of its area); at least 1 px. The rest of the image is left out.
        blur: as of `flipagents.compare.baselines.otsu.otsu`.
        iterations: of fitting mixtures and cutting.
    """
    radius = ellipse_radius(box, image.shape)
    labels = np.where(radius <= 1, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels[radius <= max(core, float(radius.min()))] = cv2.GC_FGD
    labels[~filled_box(box, image.shape)] = cv2.GC_BGD
    around = grow_box(box, max(round(rim * box_size(box)), 1), image.shape)
    part = np.s_[around.rows, around.columns]
    mask = np.zeros(image.shape, np.bool_)
    mask[part] = _cut(smoothed(image, box, blur)[part], labels[part].astype(np.uint8), iterations)
    return tidy(mask)


def _cut(image: NDArray[np.uint8], labels: NDArray[np.uint8], iterations: int) -> NDArray[np.bool_]:
    """What is nodule after GrabCut; where the labels (height, width) know one side alone, what they say."""
    nodule = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if nodule.all() or not nodule.any():
        return nodule
    cv2.setRNGSeed(SEED)
    colour = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)
    unread, mixtures = (0, 0, 0, 0), np.zeros((2, 1, 65))  # OpenCV wants a rectangle, and 5 components a side to fill
    cut, _, _ = cv2.grabCut(colour, labels, unread, mixtures[0], mixtures[1], iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
