"""U-Net on a box crop, trained on boxes alone with the losses of `flipagents.compare.baselines.box_losses`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.compare.baselines.box_losses import box_loss
from flipagents.compare.baselines.trained import CropNetwork, save, unlabelled
from flipagents.maps.geometry import filled_box
from flipagents.maps.network import StudentConfig
from flipagents.maps.training import distil
from flipenv.options import between
from flipenv.sources import SourceLike

NAME = "box-unet"
EPOCHS = 10
PAIRS, RING = 1.0, 1.0  # loss weights, the projection's being 1
ALIKE = 0.2  # largest grey-level difference of a similar pair, in standard deviations of the crop


def train(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    pairs: float = PAIRS,
    ring: float = RING,
    alike: float = ALIKE,
    **options: Any,
) -> Path:
    """Train on images and boxes; masks and `val` are not used. options: of `StudentConfig`."""
    for name, value in (("pairs", pairs), ("ring", ring), ("alike", alike)):
        between(name, value, 0.0, 1e6)
    cases = unlabelled(source)
    boxes = [filled_box(case.box, case.image.shape).astype(np.float32) for case in cases]
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    loss = box_loss(pairs, ring, alike)
    return save(distil(cases, boxes, config, loss=loss, device=device, progress=progress, title=NAME), folder, NAME)


method = partial(CropNetwork, NAME)
