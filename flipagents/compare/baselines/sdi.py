"""Simple does it: a network that learns from what the box suggests, then from its own cleaned-up answers.

A. Khoreva, R. Benenson, J. Hosang, M. Hein, B. Schiele, Simple does it: weakly supervised instance and semantic
segmentation, CVPR 2017, doi 10.1109/CVPR.2017.181. Their three rules between rounds are kept: nothing outside the box;
an answer that has come too far from where it began is put back; edges follow the image, for which they take a dense
CRF, and `flipagents.maps.refine` stands here. They begin with boxes or GrabCut; here any method that needs no training
will do, see START.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipagents.compare.baselines.trained import CropNetwork, keep, unlabelled
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
EPOCHS = 12  # a round; each begins anew
LEAST = 0.5  # intersection over union with the first label
EDGES = 1.0  # weight of grey levels when a label is sharpened


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
    """Train on images and boxes; masks are not looked at, `val` neither.

    start: the method whose masks are the first labels. options: of `StudentConfig`. ConfigError for unknown ones.
    """
    from flipagents.compare.methods import make_method, run_method  # noqa: PLC0415 - it lists this module

    between("rounds", rounds, 1, 100, whole=True)
    between("edges", edges, 0.0, 100.0)
    config = StudentConfig(epochs=EPOCHS).replace(**options)
    cases = unlabelled(source)
    images, boxes = [case.image for case in cases], [case.box for case in cases]
    first = run_method(make_method(start), cases)
    labels = first
    for turn in range(rounds):
        wanted = [label.astype(np.float32) for label in labels]
        network = distil(
            cases, wanted, config.replace(seed=config.seed + turn), device=device, progress=progress, title=NAME
        )
        if turn < rounds - 1:
            seen = network.maps(images, boxes)
            labels = [clean(*each, edges) for each in zip(seen, cases, first, strict=True)]
    return keep(network, folder, NAME)


def clean(seen: NDArray[np.float32], case: Case, first: NDArray[np.bool_], edges: float = EDGES) -> NDArray[np.bool_]:
    """The label (height, width) bool that a network's map (height, width) in 0..1 gives the next round.

    `first` is the case's first label, which comes back where the map's agrees with it too little.
    """
    sharpened = refine(seen, case.image, case.box, weight=edges) if edges else seen
    label = (sharpened > 0.5) & filled_box(case.box, case.image.shape)
    return label if jaccard(label, first) >= LEAST else first.copy()


def method(weights: Path | None, device: str) -> CropNetwork:
    """Maker for the registry of methods; CheckpointError where no such network lies in `weights`."""
    return CropNetwork(NAME, weights, device)
