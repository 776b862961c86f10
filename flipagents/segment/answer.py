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

    by_hand: bool = False  # whether a person changed the mask

    def mended(self, mask: Mask) -> Answer:
        """The answer with another mask (height, width) bool by a person, whose word is certain where it differs."""
        changed = mask != self.mask

        def told(seen: Chances) -> Chances:
            return np.where(changed, mask.astype(np.float32), seen)

        others = {name: told(seen) for name, seen in self.opinions.items()}
        seen = None if self.map is None else told(self.map)
        return Answer(mask, self.box, seen, others, self.by_hand or bool(changed.any()))
