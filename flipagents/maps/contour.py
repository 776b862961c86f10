"""A learned prior: the polar boundary combined with a network trained on it under strong elastic deformation.

On a deformed image the boundary is known from the one found on the original. So the network learns outlines that the
rule itself would miss, from images and boxes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.mapper import Mapper
from flipagents.maps.rules import refined_prior
from flipagents.store.recipe import CONTOUR
from flipenv.pixels import Grey, Mask
from flipenv.types import Box, Case

if TYPE_CHECKING:
    from flipagents.maps.network import Student, StudentConfig


class Contour:
    """Prior: mean of the refined polar boundary (see `flipagents.maps.rules`) and a network's map."""

    def __init__(self, network: Mapper) -> None:
        self.network = network

    def __call__(self, image: Grey, box: Box) -> Grey:
        """Image (height, width) uint8 and a tight box to (height, width) uint8, 255 for certain; 0 outside the box."""
        return self.look(image, box)[0]

    def look(self, image: Grey, box: Box) -> tuple[Grey, dict[str, NDArray[np.float32]]]:
        """The prior with the two maps behind it, `rule` and `network`, (height, width) float32 in 0..1."""
        learned = next(iter(self.network.maps([image], [box])))
        ruled = refined_prior(image, box)
        both = np.zeros_like(ruled)
        inside = box.rows, box.columns
        both[inside] = np.rint((ruled[inside] + 255 * learned[inside]) / 2)
        return both, {"rule": np.asarray(ruled / 255, np.float32), "network": learned}


def train_contour(
    cases: Sequence[Case],
    config: StudentConfig,
    *,
    mended: Mapping[int, Mask] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Student:
    """Train the network on the rule's maps of these cases; their masks are not used.

    mended: masks by a case's index, learned in place of its map, see `with_masks`.
    """
    from flipagents.maps.training import distil  # noqa: PLC0415 - torch, which finding a prior does without

    maps = with_masks(rule_maps(cases), mended or {})
    return distil(cases, maps, config, device=device, progress=progress, title=CONTOUR)


def rule_maps(cases: Sequence[Case]) -> list[NDArray[np.float32]]:
    """The refined polar boundary of each case, (height, width) float32 in 0..1."""
    return [np.asarray(refined_prior(case.image, case.box) / 255, np.float32) for case in cases]


def with_masks(maps: Sequence[NDArray[Any]], masks: Mapping[int, Mask]) -> list[NDArray[Any]]:
    """The maps, (height, width) in 0..1, but at the indices of `masks` the mask, (height, width) bool, as 0 and 1."""
    return [np.asarray(masks[index], np.float32) if index in masks else own for index, own in enumerate(maps)]
