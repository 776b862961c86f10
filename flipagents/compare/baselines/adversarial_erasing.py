"""Adversarial erasing: erase the regions a classifier relies on, and train the next classifier on what remains.

Y. Wei et al., Object region mining with adversarial erasing: a simple classification to semantic segmentation approach,
CVPR 2017, doi 10.1109/CVPR.2017.687. As in the paper, each round trains a classifier, takes the hottest part of its
heat map and erases it from the training images; the union of all rounds is the target of a segmentation network.
Unlike the paper, there are few rounds, and erased pixels are filled with tissue as in the environment: the mean colour
would give them away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.classify.classifier import Classifier, ClassifierConfig
from flipagents.classify.sites import PatchConfig, normal_images
from flipagents.classify.training import train_classifier
from flipagents.compare.baselines.heat import Heat, hot
from flipagents.compare.baselines.trained import CropNetwork, save, unlabelled
from flipagents.maps.network import StudentConfig
from flipagents.maps.tidy import tidy
from flipagents.maps.training import distil
from flipenv.background import BACKGROUNDS
from flipenv.options import between
from flipenv.sources import CaseSource, SourceLike, open_source
from flipenv.types import Case

NAME = "adversarial-erasing"
ROUNDS = 3
STRIDE, SHARE = 16, 0.3  # as in `flipagents.compare.baselines.gradcam`
EPOCHS = 10  # of the segmentation network

# whole nodules against erased ones and normal patches, so that a filled hole is not itself a sign of a nodule
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
    """Train on images and boxes; masks and `val` are not used.

    classifier: options of `ClassifierConfig`, for every round. options: of `StudentConfig`. ConfigError for unknown
    options.
    """
    between("rounds", rounds, 1, 100, whole=True)
    between("stride", stride, 1, 128, whole=True)
    between("share", share, 0.0, 1.0)
    base = ClassifierConfig.of(CLASSIFIER, **(classifier or {}))
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    cases, normals = unlabelled(source), normal_images(open_source(source))
    mined = [np.zeros(case.image.shape, np.bool_) for case in cases]
    for number in range(rounds):
        erased = [erase(case, mask) for case, mask in zip(cases, mined, strict=True)]
        seeded = dataclasses.replace(base, seed=base.seed + number)
        trained = train_classifier(CaseSource(erased), normals, seeded, device=device, progress=progress)
        mined = [old | new for old, new in zip(mined, mine(trained, erased, stride, share, device), strict=True)]
    targets = [tidy(mask).astype(np.float32) for mask in mined]
    return save(distil(cases, targets, config, device=device, progress=progress, title=NAME), folder, NAME)


def mine(
    trained: Classifier, cases: Sequence[Case], stride: int, share: float, device: str = "cpu"
) -> list[NDArray[np.bool_]]:
    """The hottest part of each case's box by this classifier, (height, width) bool."""
    heat = Heat(trained.network, stride, device=device)
    env = trained.config.patches.env
    return [hot(heat.on_image(case, env), case, share) for case in cases]


def erase(case: Case, mask: NDArray[np.bool_]) -> Case:
    """The case with the pixels of a mask (height, width) filled with tissue from beside its box."""
    image = np.where(mask, BACKGROUNDS["mirror"](case.image, case.box), case.image)
    return dataclasses.replace(case, image=image)


method = partial(CropNetwork, NAME)
