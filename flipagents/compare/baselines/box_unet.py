"""U-Net in a box crop that learned from boxes alone, by the losses of `flipagents.compare.baselines.box_losses`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flipagents.compare.baselines.box_losses import box_loss
from flipagents.compare.baselines.trained import CropNetwork, keep, unlabelled
from flipagents.maps.geometry import filled_box
from flipagents.maps.network import StudentConfig
from flipagents.maps.training import distil
from flipenv.options import between
from flipenv.sources import SourceLike

NAME = "box-unet"
EPOCHS = 10
PAIRS, RING = 1.0, 1.0  # weights beside the projection's
ALIKE = 0.2  # largest difference of grey levels of a pair that belongs together, deviations of the crop


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
    """Train on images and boxes; masks are not looked at, `val` neither. options: of `StudentConfig`."""
    for name, value in (("pairs", pairs), ("ring", ring), ("alike", alike)):
        between(name, value, 0.0, 1e6)
    cases = unlabelled(source)
    boxes = [filled_box(case.box, case.image.shape).astype(np.float32) for case in cases]
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    loss = box_loss(pairs, ring, alike)
    return keep(distil(cases, boxes, config, loss=loss, device=device, progress=progress, title=NAME), folder, NAME)


def method(weights: Path | None, device: str) -> CropNetwork:
    """Maker for the registry of methods; CheckpointError where no such network lies in `weights`."""
    return CropNetwork(NAME, weights, device)
