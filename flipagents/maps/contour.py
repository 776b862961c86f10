"""A prior that learned: the polar boundary, and a network that learned it on images bent so that no ellipse fits.

On a bent image the boundary is known from the one that was found on the straight image. So the network learns outlines
that the rule itself would miss, from images and boxes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.mapper import Mapper, load_mapper, load_student
from flipagents.maps.rules import PRIORS, Grey, Prior, refined_prior
from flipagents.maps.tidy import tidy
from flipagents.store.recipe import CONTOUR
from flipenv.types import Box, Case

if TYPE_CHECKING:
    from flipagents.maps.network import Student, StudentConfig


class Contour:
    """Mean of the sharpened polar boundary (see `flipagents.maps.rules`) and of a network; a prior as those are."""

    def __init__(self, network: Mapper) -> None:
        self.network = network

    def __call__(self, image: Grey, box: Box) -> Grey:
        """Image (height, width) uint8 and a tight box to (height, width) uint8, 255 for certain; 0 outside the box."""
        learned = next(iter(self.network.maps([image], [box])))
        ruled = refined_prior(image, box)
        both = np.zeros_like(ruled)
        inside = box.rows, box.columns
        both[inside] = np.rint((ruled[inside] + 255 * learned[inside]) / 2)
        return both


class ContourMethod:
    """The prior alone as a method (see `flipagents.compare.methods`): where it is more than half certain, tidied."""

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "auto") -> None:
        self.prior = Contour(load_student("contour", weights, device, runtime))
        self.runtime = self.prior.network.runtime

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask a case."""
        return [tidy(self.prior(case.image, case.box) > 127) for case in cases]


def find_prior(name: str | None, folder: Path, device: str = "cpu") -> Prior | None:
    """The prior of a pipeline's recipe: a rule of `flipagents.maps.rules`, or `contour`, whose network lies in the
    folder.

    Raises CheckpointError where it does not, ConfigError for a name that is neither.
    """
    if name is None:
        return None
    return Contour(load_mapper(folder / CONTOUR, device)) if name == CONTOUR else PRIORS[name]


def train_contour(
    cases: Sequence[Case], config: StudentConfig, *, device: str = "cpu", progress: bool = True
) -> Student:
    """Train the network on the rule's maps of these cases; their masks are not looked at."""
    from flipagents.maps.training import distil  # noqa: PLC0415 - torch, which finding a prior does without

    maps = [refined_prior(case.image, case.box).astype(np.float32) / 255 for case in cases]
    return distil(cases, maps, config, device=device, progress=progress, title=CONTOUR)
