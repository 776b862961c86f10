"""GrabCut: Gaussian mixtures of the grey levels inside and outside, and the minimum cut between them.

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

SEED = 0  # of the clustering that initialises OpenCV's mixtures


def grabcut(image: NDArray[np.uint8], box: Box, *, iterations: int = 5) -> NDArray[np.bool_]:
    """GrabCut from the rectangle alone: everything outside is background. Mask (height, width), often empty.

    Shadows elsewhere in the image look like the nodule, so much of the nodule passes for background. If the box is the
    whole image there is no background, and the mask is the box.
    """
    labels = np.where(filled_box(box, image.shape), cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    return cut(image, labels, iterations)


def grabcut_fair(
    image: NDArray[np.uint8],
    box: Box,
    *,
    core: float = 0.9,
    rim: float = 0.4,
    blur: float = 0.0,
    iterations: int = 2,
) -> NDArray[np.bool_]:
    """GrabCut that uses the tightness of the box; one component without holes inside the box, never empty.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        core: radius of the certain nodule, in radii of the ellipse inscribed in the box. The rest of the ellipse is
            probable nodule, the rest of the box probable background.
        rim: width of the background ring around the box, as a share of the box's size (square root of its area); at
            least 1 px. The rest of the image is not used.
        blur: as in `flipagents.compare.baselines.otsu.otsu`.
        iterations: of fitting the mixtures and cutting.
    """
    radius = ellipse_radius(box, image.shape)
    labels = np.where(radius <= 1, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels[radius <= max(core, float(radius.min()))] = cv2.GC_FGD
    labels[~filled_box(box, image.shape)] = cv2.GC_BGD
    around = grow_box(box, max(round(rim * box_size(box)), 1), image.shape)
    part = np.s_[around.rows, around.columns]
    mask = np.zeros(image.shape, np.bool_)
    mask[part] = cut(smoothed(image, box, blur)[part], labels[part].astype(np.uint8), iterations)
    return tidy(mask)


def cut(image: NDArray[np.uint8], labels: NDArray[np.uint8], iterations: int) -> NDArray[np.bool_]:
    """Nodule pixels after GrabCut; if the labels (height, width) have only one side, as labelled."""
    nodule = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if nodule.all() or not nodule.any():
        return nodule
    cv2.setRNGSeed(SEED)
    colour = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)
    no_rectangle, mixtures = (0, 0, 0, 0), np.zeros((2, 1, 65))  # 5 components per side, filled by OpenCV
    cut, _, _ = cv2.grabCut(colour, labels, no_rectangle, mixtures[0], mixtures[1], iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
