"""Adversarial erasing: what a classifier looks at is erased, and another must find what is left.

Y. Wei et al., Object region mining with adversarial erasing: a simple classification to semantic segmentation approach,
CVPR 2017, doi 10.1109/CVPR.2017.687. As there, rounds of: train a classifier, take the hottest part of its heat map,
erase it on the training images; what all rounds erased teaches a network that segments. Unlike there, the rounds are
few, and erased pixels show the tissue that the environment would show, not the mean colour, which would give them away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.classify.classifier import Classifier, ClassifierConfig
from flipagents.classify.sites import PatchConfig, normal_images
from flipagents.classify.training import train_classifier
from flipagents.compare.baselines.heat import Heat, hot
from flipagents.compare.baselines.trained import CropNetwork, keep, unlabelled
from flipagents.maps.network import StudentConfig
from flipagents.maps.tidy import tidy
from flipagents.maps.training import distil
from flipenv.background import BACKGROUNDS
from flipenv.options import between
from flipenv.sources import CaseSource, SourceLike, open_source
from flipenv.types import Case

NAME = "adversarial-erasing"
ROUNDS = 3
STRIDE, SHARE = 16, 0.3  # as in `flipagents.compare.baselines.gradcam`: finest place, and least heat of what is erased
EPOCHS = 10  # of the network that learns from what was erased

# whole nodules against erased ones and empty places: a filled hole must not be what says 'nodule'
CLASSIFIER = ClassifierConfig(
    epochs=4,
    examples=1536,
    val_examples=256,
    patches=PatchConfig(variants=2, per_normal=4, per_case=1, mix=(0.5, 0.0, 0.25, 0.25)),
)


def train(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    rounds: int = ROUNDS,
    stride: int = STRIDE,
    share: float = SHARE,
    classifier: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Train on images and boxes; masks are not looked at, `val` neither.

    classifier: options of `ClassifierConfig` for each round's. options: of `StudentConfig`. ConfigError for unknown
    ones.
    """
    between("rounds", rounds, 1, 100, whole=True)
    between("stride", stride, 1, 128, whole=True)
    between("share", share, 0.0, 1.0)
    each = ClassifierConfig.of(CLASSIFIER, **(classifier or {}))
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    cases, normals = unlabelled(source), normal_images(open_source(source))
    found = [np.zeros(case.image.shape, np.bool_) for case in cases]
    for turn in range(rounds):
        now = dataclasses.replace(each, seed=each.seed + turn)
        shown = [erase(case, mask) for case, mask in zip(cases, found, strict=True)]
        trained = train_classifier(CaseSource(shown), normals, now, device=device, progress=progress)
        found = [old | new for old, new in zip(found, mine(trained, shown, stride, share, device), strict=True)]
    union = [tidy(mask).astype(np.float32) for mask in found]
    return keep(distil(cases, union, config, device=device, progress=progress, title=NAME), folder, NAME)


def mine(
    trained: Classifier, cases: Sequence[Case], stride: int, share: float, device: str = "cpu"
) -> list[NDArray[np.bool_]]:
    """The hottest part of the box, (height, width) bool, of each case as this classifier sees it."""
    heat = Heat(trained.network, stride, device=device)
    env = trained.config.patches.env
    return [hot(heat.on_image(case, env), case, share) for case in cases]


def erase(case: Case, mask: NDArray[np.bool_]) -> Case:
    """The case with the pixels of a mask (height, width) showing tissue from beside its box."""
    image = np.where(mask, BACKGROUNDS["mirror"](case.image, case.box), case.image)
    return dataclasses.replace(case, image=image)


def method(weights: Path | None, device: str) -> CropNetwork:
    """Maker for the registry of methods; CheckpointError where no such network lies in `weights`."""
    return CropNetwork(NAME, weights, device)
