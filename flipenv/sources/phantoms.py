"""Synthetic breast ultrasound as a source."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ConfigError
from flipenv.sources import phantom, speckle
from flipenv.sources.base import ListedSource
from flipenv.sources.contents import digest
from flipenv.types import Case

GENERATOR = (phantom, speckle)  # modules whose source code is part of the fingerprint


@dataclass(frozen=True)
class PhantomCase:
    """One phantom, by its arguments."""

    seed: int
    height: int
    width: int
    with_mask: bool = True

    @property
    def id(self) -> str:
        """The case's id; see `Source.ids`."""
        return f"phantom-{self.seed:04d}"

    def load(self) -> Case:
        """Generate the case; see `Source.load`."""
        case = phantom.phantom_case(self.seed, self.height, self.width)
        return case if self.with_mask else dataclasses.replace(case, mask=None)

    def fingerprint(self) -> str:
        """Hash what determines the case; see `Source.fingerprint`."""
        return digest(self.id, (self.seed, self.height, self.width), _generator())

    def unlabelled(self) -> PhantomCase:
        """The same case without its mask."""
        return dataclasses.replace(self, with_mask=False)


class PhantomSource(ListedSource):
    """Phantoms of consecutive seeds; a seed gives the same case on every machine.

    Args:
        count: number of cases.
        height: pixels.
        width: pixels.
        first: seed of the first case; different seeds share no anatomy.

    Raises ConfigError for an argument that is not a whole number in range; ImageError on loading if the size is too
    small.
    """

    def __init__(self, count: int = 64, height: int = 320, width: int = 448, first: int = 0) -> None:
        for name, value, least in (
            ("count", count, 1),
            ("height", height, 1),
            ("width", width, 1),
            ("first", first, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"phantom source: {name}={value!r}; expected a whole number, {least} or more")
        super().__init__([PhantomCase(seed, height, width) for seed in range(first, first + count)], "phantom")

    def load_normal(self, index: int) -> NDArray[Any]:
        """Return the same breast without its nodule, (height, width) uint8."""
        entry = self.entries[index]
        assert isinstance(entry, PhantomCase)
        return phantom.normal_image(entry.seed, entry.height, entry.width)


@functools.cache
def _generator() -> str:
    """Digest of the generator: its source code, and the versions of NumPy and OpenCV."""
    return digest(*(Path(str(module.__file__)) for module in GENERATOR), np.__version__, cv2.__version__)
