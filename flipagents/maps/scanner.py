"""The same image as another scanner, or another archive, would have stored it: a training example's grey levels."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from flipenv.types import Case

SIDE = 128  # px; images are made this small at most, along their longer side
DARK, BRIGHT = 5.0, 3.0  # largest shares of pixels, in percent, that become black and white


def as_stored_elsewhere(case: Case, rng: np.random.Generator) -> Case:
    """The case without its mask, its image down to a lower resolution and back, in another dynamic range.

    The longer side becomes between SIDE px and its own length, log-uniformly. Grey levels are stretched, so that up to
    DARK percent become black and BRIGHT percent white.
    """
    height, width = case.image.shape
    longer = max(height, width)
    scale = float(np.exp(rng.uniform(np.log(min(SIDE, longer)), np.log(longer)))) / longer
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(case.image, size, interpolation=cv2.INTER_AREA)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    low, high = np.percentile(image, [rng.uniform(0, DARK), 100 - rng.uniform(0, BRIGHT)])
    stretched = np.clip((image - low) / max(high - low, 1.0), 0, 1) * 255
    return dataclasses.replace(case, image=np.rint(stretched).astype(np.uint8), mask=None)
