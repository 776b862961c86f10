"""What the baselines that are networks in a box crop share: their folders, and how a mask comes out of them."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipagents.maps.network import Student
from flipagents.maps.tidy import tidy
from flipenv.sources import SourceLike, open_source
from flipenv.types import Case

SHIPPED = Path(str(files("flipagents") / "weights" / "busi-baselines"))


class CropNetwork:
    """Segments with a network that a baseline's trainer left in `weights`/`name`; weights: None for those that ship.

    Raises CheckpointError where there is none.
    """

    def __init__(self, name: str, weights: Path | None, device: str) -> None:
        self.network = Student.load((weights or SHIPPED) / name, device)

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) a case: the largest piece of where the map exceeds a half."""
        maps = self.network.maps([case.image for case in cases], [case.box for case in cases])
        return [tidy(seen > 0.5) for seen in maps]


def keep(network: Student, folder: str | Path, name: str) -> Path:
    """Write what was trained into `folder`/`name`, in place of what was there; return that."""
    into = Path(folder) / name
    network.save(into)
    return into


def unlabelled(source: SourceLike) -> list[Case]:
    """All cases of a source without their masks."""
    opened = open_source(source)
    return [dataclasses.replace(opened.load(index), mask=None) for index in range(len(opened))]
