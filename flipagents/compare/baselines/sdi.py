"""Simple does it: train a network on labels derived from the box, then on its own cleaned predictions.

A. Khoreva, R. Benenson, J. Hosang, M. Hein, B. Schiele, Simple does it: weakly supervised instance and semantic
segmentation, CVPR 2017, doi 10.1109/CVPR.2017.181. The paper's three rules between rounds are kept: nothing outside the
box; a prediction too far from the first label is reset to it; edges follow the image, by `flipagents.maps.refine` in
place of a dense CRF. The paper starts from boxes or GrabCut; here any method without training will do, see START.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.compare.baselines.trained import CropNetwork, save, unlabelled
from flipagents.maps.geometry import filled_box
from flipagents.maps.network import StudentConfig
from flipagents.maps.refine import refine
from flipagents.maps.training import distil
from flipagents.metrics import jaccard
from flipenv.options import between
from flipenv.sources import SourceLike
from flipenv.types import Case

NAME = "sdi"
START, ROUNDS = "ellipse", 3
EPOCHS = 12  # per round; each trains from scratch
LEAST = 0.5  # intersection over union with the first label, below which that is restored
EDGES = 1.0  # weight of grey levels in refinement


def train(
    source: SourceLike,
    val: SourceLike | None,
    folder: str | Path,
    device: str = "cpu",
    progress: bool = True,
    *,
    start: str = START,
    rounds: int = ROUNDS,
    edges: float = EDGES,
    **options: Any,
) -> Path:
    """Train on images and boxes; masks and `val` are not used.

    start: the method whose masks are the first labels. options: of `StudentConfig`. ConfigError for unknown options.
    """
    from flipagents.compare.methods import make_method, run_method  # noqa: PLC0415 - circular: it lists this module

    between("rounds", rounds, 1, 100, whole=True)
    between("edges", edges, 0.0, 100.0)
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    cases = unlabelled(source)
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    first = run_method(make_method(start), cases)
    labels = first
    for number in range(rounds):
        targets = [label.astype(np.float32) for label in labels]
        seeded = config.replace(seed=config.seed + number)
        network = distil(cases, targets, seeded, device=device, progress=progress, title=NAME)
        if number < rounds - 1:
            maps = network.maps(images, boxes)
            labels = [clean(*each, edges) for each in zip(maps, cases, first, strict=True)]
    return save(network, folder, NAME)


def clean(
    predicted: NDArray[np.float32], case: Case, first: NDArray[np.bool_], edges: float = EDGES
) -> NDArray[np.bool_]:
    """The next round's label (height, width) bool, from a predicted map (height, width) in 0..1.

    first: the case's first label, returned instead if the new one overlaps it too little.
    """
    refined = refine(predicted, case.image, case.box, weight=edges) if edges else predicted
    label = (refined > 0.5) & filled_box(case.box, case.image.shape)
    return label if jaccard(label, first) >= LEAST else first.copy()


method = partial(CropNetwork, NAME)
