"""Grad-CAM and Grad-CAM++ as methods: where a classifier looked when it said 'nodule', cut to the box.

The classifier is the one that lies in a pipeline's folder; it learned from images and boxes. Sources: see
`flipagents.compare.baselines.heat`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.classify.classifier import Classifier
from flipagents.compare.baselines.heat import Heat, hot
from flipagents.store.checkpoint import SHIPPED
from flipenv.types import Case

STRIDE = {"gradcam": 16, "gradcam++": 16}  # canvas px a place of the layer that is looked at, at most
SHARE = {"gradcam": 0.1, "gradcam++": 0.1}  # of the heat's largest value in the box, above which is nodule


class GradCam:
    """Segments by the heat of a classifier; plus: Grad-CAM++. CheckpointError where `weights` holds no classifier."""

    def __init__(self, weights: Path | None, device: str, *, plus: bool = False) -> None:
        self.name = "gradcam++" if plus else "gradcam"
        self.classifier = Classifier.load((weights or SHIPPED) / "classifier" / "classifier")
        self.heat = Heat(self.classifier.network, STRIDE[self.name], plus=plus, device=device)

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) a case."""
        env = self.classifier.config.patches.env
        return [hot(self.heat.on_image(case, env), case, SHARE[self.name]) for case in cases]


def plus(weights: Path | None, device: str) -> GradCam:
    """Maker of Grad-CAM++."""
    return GradCam(weights, device, plus=True)
