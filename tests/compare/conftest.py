"""What a test of this room registers is forgotten after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flipagents.compare.methods import METHODS
from flipagents.compare.trainers import TRAINERS


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    """No name outlives its test."""
    with METHODS.temporarily(), TRAINERS.temporarily():
        yield
