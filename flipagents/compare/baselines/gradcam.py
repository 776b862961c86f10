"""Grad-CAM and Grad-CAM++ as methods: the classifier's heat map for 'nodule', thresholded inside the box.

The classifier is the pipeline's; it was trained on images and boxes. Sources: see `flipagents.compare.baselines.heat`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.classify.classifier import Classifier
from flipagents.compare.baselines.heat import Heat, hot
from flipagents.store.checkpoint import SHIPPED
from flipenv.types import Case

STRIDE = {"gradcam": 16, "gradcam++": 16}  # largest stride of the layer, canvas px
SHARE = {"gradcam": 0.1, "gradcam++": 0.1}  # threshold, as a share of the largest heat in the box


class GradCam:
    """Segments by a classifier's heat map; plus: Grad-CAM++. CheckpointError if `weights` holds no classifier."""

    def __init__(self, weights: Path | None, device: str, *, plus: bool = False) -> None:
        self.name = "gradcam++" if plus else "gradcam"
        self.classifier = Classifier.load((weights or SHIPPED) / "classifier" / "classifier")
        self.heat = Heat(self.classifier.network, STRIDE[self.name], plus=plus, device=device)

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case."""
        env = self.classifier.config.patches.env
        return [hot(self.heat.on_image(case, env), case, SHARE[self.name]) for case in cases]


def plus(weights: Path | None, device: str) -> GradCam:
    """Make Grad-CAM++."""
    return GradCam(weights, device, plus=True)
