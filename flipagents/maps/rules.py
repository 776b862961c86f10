"""Pictures that say how surely each pixel is nodule, by rules that need the image and the box alone.

A reward may use them (`prior_weight`). Agents see one only where the channel `prior` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from flipagents.maps.geometry import ellipse, filled_box
from flipagents.maps.polar import polar_probability
from flipagents.maps.refine import refine
from flipenv.pixels import Grey
from flipenv.registry import Registry
from flipenv.types import Box

Prior: TypeAlias = Callable[[Grey, Box], Grey]  # image (height, width), tight box -> (height, width), 255 for certain
PRIORS: Registry[Prior] = Registry("prior")


@PRIORS.register("polar")
def polar_prior(image: Grey, box: Box) -> Grey:
    """Share of polar boundaries that hold a pixel (see `flipagents.maps.polar`); nothing outside the box.

    A box is tight, so what a boundary holds beyond it is an error of the boundary.
    """
    return np.asarray(np.rint(255 * polar_probability(image, box) * filled_box(box, image.shape)), np.uint8)


@PRIORS.register("refined")
def refined_prior(image: Grey, box: Box) -> Grey:
    """The same, sharpened by the image's grey levels (see `flipagents.maps.refine`)."""
    seen = refine(polar_probability(image, box), image, box) * filled_box(box, image.shape)
    return np.asarray(np.rint(255 * seen), np.uint8)


@PRIORS.register("ellipse")
def ellipse_prior(image: Grey, box: Box) -> Grey:
    """Certain inside the inscribed ellipse."""
    return np.asarray(np.where(ellipse(box, image.shape), 255, 0), np.uint8)
