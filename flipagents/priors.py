"""Pictures that say how surely each pixel is nodule, by rules that need the image and the box alone.

A reward may use them (`prior_weight`). Agents see one only where the channel `prior` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipagents.baselines.geometry import ellipse, filled_box
from flipagents.baselines.polar import polar_probability
from flipagents.refine import refine
from flipenv.registry import Registry
from flipenv.sources import Source
from flipenv.sources.contents import digest
from flipenv.types import Box, Case

Grey: TypeAlias = NDArray[np.uint8]
Prior: TypeAlias = Callable[[Grey, Box], Grey]  # image (height, width), tight box -> (height, width), 255 for certain
VERSION = 1  # raised whenever a rule gives another picture, so that no cached episode keeps the old one
PRIORS: Registry[Prior] = Registry("prior")


@PRIORS.register("polar")
def polar_prior(image: Grey, box: Box) -> Grey:
    """Share of polar boundaries that hold a pixel (see `flipagents.baselines.polar`); nothing outside the box.

    A box is tight, so what a boundary holds beyond it is an error of the boundary.
    """
    return np.asarray(np.rint(255 * polar_probability(image, box) * filled_box(box, image.shape)), np.uint8)


@PRIORS.register("refined")
def refined_prior(image: Grey, box: Box) -> Grey:
    """The same, sharpened by the image's grey levels (see `flipagents.refine`)."""
    seen = refine(polar_probability(image, box), image, box) * filled_box(box, image.shape)
    return np.asarray(np.rint(255 * seen), np.uint8)


@PRIORS.register("ellipse")
def ellipse_prior(image: Grey, box: Box) -> Grey:
    """Certain inside the inscribed ellipse."""
    return np.asarray(np.where(ellipse(box, image.shape), 255, 0), np.uint8)


class Enriched:
    """A source whose cases get a prior by rule, an earlier stage's masks, or both; read lazily like the source.

    prior: a registered name, or None. coarse: masks (height, width) bool in the source's order, or None.
    """

    def __init__(self, source: Source, prior: str | None, coarse: Sequence[NDArray[np.bool_]] | None = None) -> None:
        self.source, self.prior, self.coarse = source, prior, coarse
        if prior is not None:
            PRIORS[prior]

    @property
    def ids(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Case:
        """Read one case and add to it."""
        case = self.source.load(index)
        added: dict[str, Any] = {}
        if self.prior is not None:
            added["prior"] = PRIORS[self.prior](case.image, case.box)
        if self.coarse is not None:
            added["coarse"] = self.coarse[index]
        return Case(**{**vars(case), **added})

    def fingerprint(self, index: int) -> str:
        """Digest of the source's case and of what is added."""
        mask = None if self.coarse is None else self.coarse[index].astype(np.uint8)
        return digest(self.source.fingerprint(index), self.prior or "", str(VERSION), mask)
