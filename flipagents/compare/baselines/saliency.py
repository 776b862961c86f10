"""Saliency: the salient part of the box is the nodule. OpenCV's `saliency`, thresholded by Otsu's method.

`saliency`: X. Hou, L. Zhang, Saliency detection: a spectral residual approach, CVPR 2007, doi
10.1109/CVPR.2007.383267. `saliency-fine`: S. Montabone, A. Soto, Human detection using a mobile platform and novel
features derived from a visual saliency mechanism, Image and Vision Computing 28(3):391-402, 2010, doi
10.1016/j.imavis.2009.06.006.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipagents.compare.baselines.otsu import above_otsu
from flipagents.compare.baselines.smooth import box_size, smoothed
from flipenv.episode import grow_box
from flipenv.errors import MissingDependencyError
from flipenv.types import Box

WHOLE = float("inf")  # rim that covers the whole image


def spectral_residual(
    image: NDArray[np.uint8], box: Box, *, rim: float = WHOLE, blur: float = 0.3
) -> NDArray[np.bool_]:
    """Salient pixels in the box, mask (height, width), in one or more components; arbitrary for a flat image.

    Args:
        image: (height, width) uint8.
        box: in pixels of the image.
        rim: width of the context around the box, as a share of the box's size (square root of its area).
        blur: standard deviation of the Gaussian that smooths the saliency, as a share of the box's size.
    """
    return _salient(_engine("StaticSaliencySpectralResidual_create"), image, box, rim, blur)


def fine_grained(image: NDArray[np.uint8], box: Box, *, rim: float = 0.5, blur: float = 0.3) -> NDArray[np.bool_]:
    """As `spectral_residual`, by contrast with the surroundings at several scales; empty for a flat image."""
    return _salient(_engine("StaticSaliencyFineGrained_create"), image, box, rim, blur)


def _salient(engine: Any, image: NDArray[np.uint8], box: Box, rim: float, blur: float) -> NDArray[np.bool_]:
    around = grow_box(box, round(min(rim * box_size(box), max(image.shape))), image.shape)
    _, seen = engine.computeSaliency(np.ascontiguousarray(image[around.rows, around.columns]))
    picture = np.zeros(image.shape, np.uint8)
    # smoothed before it is pasted: zeros around it would make the middle salient
    picture[around.rows, around.columns] = smoothed(np.rint(255 * seen).astype(np.uint8), box, blur)
    mask = np.zeros(image.shape, np.bool_)
    mask[box.rows, box.columns] = above_otsu(picture[box.rows, box.columns])
    return mask


def _engine(name: str) -> Any:
    create = getattr(getattr(cv2, "saliency", None), name, None)
    if create is None:
        raise MissingDependencyError(
            f"OpenCV {cv2.__version__} has no cv2.saliency.{name} here: opencv-python hides opencv-contrib-python; run "
            "`pip install --force-reinstall --no-deps opencv-contrib-python`"
        )
    return create()
