"""The polar boundary, refined by the image's grey levels. Nothing is learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.polar import polar_probability
from flipagents.maps.refine import refine
from flipenv.types import Box


def polar_grey(image: NDArray[np.uint8], box: Box) -> NDArray[np.bool_]:
    """Mask (height, width) bool: where the polar boundary's map, refined (`flipagents.maps.refine`), exceeds a half."""
    return refine(polar_probability(image, box), image, box) > 0.5
