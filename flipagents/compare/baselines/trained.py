"""What baselines with a network on a box crop share: cases without masks, checkpoints, and map to mask."""

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
    """Segments with the network that a trainer saved in `weights`/`name`; weights: None for the shipped ones.

    Raises CheckpointError if there is none.
    """

    def __init__(self, name: str, weights: Path | None, device: str) -> None:
        self.network = Student.load((weights or SHIPPED) / name, device)

    def __call__(self, cases: list[Case]) -> list[NDArray[np.bool_]]:
        """One mask (height, width) per case: the largest component where the map exceeds a half, holes filled."""
        maps = self.network.maps([case.image for case in cases], [case.box for case in cases])
        return [tidy(seen > 0.5) for seen in maps]


def save(network: Student, folder: str | Path, name: str) -> Path:
    """Save a trained network as `folder`/`name`, replacing an earlier one; return that path."""
    path = Path(folder) / name
    network.save(path)
    return path


def unlabelled(source: SourceLike) -> list[Case]:
    """All cases of a source without their masks."""
    opened = open_source(source)
    return [dataclasses.replace(opened.load(index), mask=None) for index in range(len(opened))]
