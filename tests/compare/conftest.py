"""Fixtures of this room: nothing a test registers outlives it, and a method that fails on chosen cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flipagents.compare.methods import METHODS, Method
from flipagents.compare.trainers import TRAINERS
from flipagents.maps.geometry import ellipse
from flipenv.errors import ImageError
from flipenv.types import Case

REASON = "not this one, see /home/me/log"  # why 'picky' fails


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    """No name outlives its test."""
    with METHODS.temporarily(), TRAINERS.temporarily():
        yield


@pytest.fixture
def picky() -> list[str]:
    """Ids of the cases on which the method 'picky' fails; it returns the ellipse for others."""
    failing: list[str] = []

    @METHODS.register("picky")
    def make(weights: Path | None, device: str) -> Method:
        def picky(cases: list[Case]) -> list[np.ndarray]:
            if any(case.id in failing for case in cases):
                raise ImageError(REASON)
            return [ellipse(case.box, case.image.shape) for case in cases]

        return picky

    return failing
