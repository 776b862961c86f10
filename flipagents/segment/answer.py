"""What a method says about one box: the mask, and the maps that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipenv.pixels import Mask
from flipenv.types import Box

Chances: TypeAlias = NDArray[np.float32]  # (height, width) of the image, in 0..1: how likely each pixel is nodule


@dataclass(frozen=True, eq=False)
class Answer:
    """One mask with what `flipagents.segment.quality` judges it by."""

    mask: Mask  # (height, width) bool
    box: Box  # the box that was segmented: the case's, or where it was relocated to
    map: Chances | None = None  # from which the mask was made; None for a method without one
    opinions: Mapping[str, Chances] = field(default_factory=dict)  # other maps of the same nodule, by name
