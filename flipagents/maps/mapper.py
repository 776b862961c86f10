"""Networks that give a map from an image and its box in one pass, whatever runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.crops import Crop, View, inputs
from flipenv.types import Box

BATCH = 64  # crops in one pass


class Mapper:
    """Maps of nodules from images and boxes. A subclass needs `probabilities` alone.

    view: which boxes it is for, see `flipagents.maps.crops`.
    """

    runtime: ClassVar[str] = "torch"  # what runs it

    def __init__(self, view: View) -> None:
        self.view = view

    def probabilities(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """Crops (B, N_INPUTS[view], SIZE, SIZE) to probabilities of nodule (B, SIZE, SIZE), both float32."""
        raise NotImplementedError(f"{type(self).__name__} has no probabilities(seen)")

    def maps(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Box]) -> Iterable[NDArray[np.float32]]:
        """Probability of nodule for each pixel of each image (height, width), float32 in 0..1, 0 far from the box.

        The mean over the image and its mirror image. Read lazily, BATCH at a time.
        """
        for start in range(0, len(images), BATCH):
            chunk = range(start, min(start + BATCH, len(images)))
            crops = [Crop.around(boxes[index], self.view) for index in chunk]
            drawn = (inputs(images[i], boxes[i], crop, self.view) for i, crop in zip(chunk, crops, strict=True))
            seen = np.stack(list(drawn))
            there, back = np.split(self.probabilities(np.concatenate([seen, seen[..., ::-1]])), 2)
            for index, crop, values in zip(chunk, crops, (there + back[..., ::-1]) / 2, strict=True):
                yield crop.put(values, images[index].shape)
