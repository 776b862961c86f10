"""Views besides the image with its mask: the superpixels, and the image with the nodule erased."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.background import BACKGROUNDS
from flipenv.episode import grow_box
from flipenv.pictures.render import BOX, ERASED, PANEL, Rgb
from flipenv.pixels import Mask
from flipenv.types import Box, Case, Episode


def superpixels(episode: Episode) -> Rgb:
    """The agents' superpixels outlined on the canvas, enlarged to about 560 px: (h, w, 3) uint8."""
    scale = max(1, round(PANEL / max(episode.image.shape)))
    picture = _rgb(_enlarged(episode.image, scale, cv2.INTER_CUBIC))
    labels = _enlarged(episode.labels, scale, cv2.INTER_NEAREST)
    edges = np.zeros(labels.shape, np.bool_)
    edges[1:] = labels[1:] != labels[:-1]
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    picture[edges] = ERASED
    box = Box(*(value * scale for value in episode.box))
    cv2.rectangle(picture, (box.left, box.top), (box.right - 1, box.bottom - 1), BOX, max(1, scale // 2))
    return picture


def erased(case: Case, mask: Mask, background: str, margin: int = 0) -> NDArray[np.uint8]:
    """The image with the mask replaced by the background that erasing reveals, (height, width) uint8.

    background: its name in `flipenv.BACKGROUNDS`; margin: image px around the box that may be erased. Mask pixels
    beyond it are unchanged.
    """
    painted = BACKGROUNDS[background](case.image, grow_box(case.box, margin, case.image.shape))
    return np.where(mask, painted, case.image)


def _rgb(grey: NDArray[Any]) -> Rgb:
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def _enlarged(picture: NDArray[Any], scale: int, interpolation: int) -> NDArray[Any]:
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=interpolation)
