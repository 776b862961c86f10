"""A source whose cases carry what was computed for them: a prior, an earlier stage's masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.pixels import Grey
from flipenv.sources import Source
from flipenv.sources.contents import digest
from flipenv.types import Case


class Enriched:
    """A source whose cases get a prior, an earlier stage's masks, or both; read lazily like the source.

    priors: pictures (height, width) uint8 in the source's order, or None. coarse: masks (height, width) bool, likewise.
    Both are kept as PNG files are: each worker process that prepares episodes gets them all.
    """

    def __init__(
        self, source: Source, priors: Iterable[Grey] | None = None, coarse: Iterable[NDArray[np.bool_]] | None = None
    ) -> None:
        self.source = source
        self.priors = None if priors is None else [_packed(picture) for picture in priors]
        self.coarse = None if coarse is None else [_packed(mask.astype(np.uint8)) for mask in coarse]

    @property
    def ids(self) -> tuple[str, ...]:
        """Those of the source."""
        return self.source.ids

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> Case:
        """Read one case and add to it."""
        added: dict[str, Any] = {}
        if self.priors is not None:
            added["prior"] = _unpacked(self.priors[index])
        if self.coarse is not None:
            added["coarse"] = _unpacked(self.coarse[index]) > 0
        return dataclasses.replace(self.source.load(index), **added)

    def fingerprint(self, index: int) -> str:
        """Digest of the source's case and of what is added."""
        added = (None if packed is None else packed[index] for packed in (self.priors, self.coarse))
        return digest(self.source.fingerprint(index), *added)


def _packed(picture: Grey) -> Grey:
    return np.asarray(cv2.imencode(".png", picture)[1], np.uint8)


def _unpacked(packed: Grey) -> Grey:
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)
