"""Fully supervised U-Net on a box crop, the only method here that is trained on masks: the value of masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flipagents.compare.baselines.trained import CropNetwork, save
from flipagents.maps.network import StudentConfig
from flipagents.maps.training import distil
from flipenv.errors import MaskError
from flipenv.sources import SourceLike, open_source

NAME = "unet"
EPOCHS = 40


def train(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    **options: Any,
) -> Path:
    """Train on the MASKS of `source`, which no other trainer reads; `val` is not used.

    options: of `StudentConfig`. Raises MaskError if a case has no mask.
    """
    opened = open_source(source)
    cases = [opened.load(index) for index in range(len(opened))]
    masks = []
    for case in cases:
        if case.mask is None:
            raise MaskError(f"case {case.id!r} has no mask, and {NAME!r} learns from masks; 'box-unet' needs none")
        masks.append(np.asarray(case.mask, np.float32))
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    return save(distil(cases, masks, config, device=device, progress=progress, title=NAME), folder, NAME)


method = partial(CropNetwork, NAME)
