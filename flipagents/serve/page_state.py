"""What one window of the page works on: images, their boxes, and the mask of each box with its corrections."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from flipagents.segment.corrections import Correction
from flipagents.segment.mend import Mender
from flipagents.serve import service
from flipagents.serve.page_turns import Visit
from flipagents.serve.service import Picture, Result
from flipenv.errors import EpisodeError, OrientationWarning
from flipenv.pictures.render import Scene
from flipenv.pixels import Mask
from flipenv.types import Box

Given: TypeAlias = tuple[Box, int, str, str]  # what a mask is made from: box, margin, method, weights


@dataclass(eq=False)
class Nodule:
    """One box on an image, and what was made from it."""

    box: Box | None = None
    given: Given | None = None  # inputs of the result
    result: Result | None = None  # before any correction
    mender: Mender | None = None  # once there was a correction
    undone: int = 0  # corrections that can be done again
    stored: str = ""  # file of the result's mask among those of the session

    @property
    def mask(self) -> Mask | None:
        """The mask with its corrections, (height, width) bool."""
        return self.mender.mask if self.mender else self.result.mask if self.result else None

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """Corrections so far, without those undone."""
        return self.mender.corrections if self.mender else ()

    def make(self, result: Result, given: Given) -> None:
        """Replace the mask by another result, without corrections."""
        self.result, self.given, self.mender, self.undone, self.stored = result, given, None, 0, ""

    def mending(self) -> Mender:
        """The mender of the mask; EpisodeError without one."""
        if self.result is None:
            raise EpisodeError("there is no mask to mend yet; press 'Segment' first")
        if self.mender is None:
            self.mender = Mender(self.result.case.image, self.result.case.box, self.result.mask)
        return self.mender


@dataclass(eq=False)
class Sheet:
    """One image, or one frame of a film, with its boxes; there is always one box, perhaps not drawn yet."""

    file: Path | None  # None for a phantom
    frame: int | None = None  # of a film
    seed: int = 0  # of a phantom
    truth: Path | None = None  # file of the true mask
    target: Path | None = None  # the mask on disk that is mended, of `flip app --mend`
    shown: Path | None = None  # the image as PNG for the browser
    nodules: list[Nodule] = field(default_factory=lambda: [Nodule()])
    chosen: int = 0  # of the nodules

    @cached_property
    def picture(self) -> Picture:
        """The image, read when it is needed, with its pixels as stored, so that boxes fit what is shown."""
        if self.file is None:
            return service.phantom(self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OrientationWarning)
            picture = service.open_picture(self.file, self.frame or 0)
        return picture if self.truth is None else service.with_truth(picture, self.truth)

    @property
    def name(self) -> str:
        """Of its file, for the order of the images."""
        return f"phantom-{self.seed}" if self.file is None else self.file.name

    def forget(self) -> None:
        """Drop the image, which can be read again."""
        vars(self).pop("picture", None)

    @property
    def nodule(self) -> Nodule:
        """The chosen one."""
        return self.nodules[self.chosen]


@dataclass(eq=False)
class Session:
    """State of one window. Mutable, as a computation may end while boxes are being drawn."""

    key: str = ""  # of its files on the server
    sheets: list[Sheet] = field(default_factory=list)
    at: int = 0  # of the sheets
    phantoms: int = 0  # made so far
    turn: int = 0  # of the latest that the drawing asked for
    walked: tuple[Scene, ...] = ()
    walk_of: tuple[Box, int, str] | None = None  # box, margin, weights of that walk; None if it was not completed
    visit: Visit = field(default_factory=Visit)  # of the image that is shown

    @property
    def sheet(self) -> Sheet | None:
        """The image that is shown."""
        return self.sheets[self.at] if self.sheets else None

    def shown(self) -> Sheet:
        """The image that is shown; EpisodeError if there is none."""
        if self.sheet is None:
            raise EpisodeError("there is no picture yet; open an image, or make a phantom")
        return self.sheet

    def show(self, index: int) -> None:
        """Turn to another image; what is computed for the one before ends."""
        if self.sheet is not None:
            self.sheet.forget()
        self.at = index
        self.walked, self.walk_of = (), None
        self.visit.over = True
        self.visit = Visit()


def work_order(sheets: Sequence[Sheet], sure: Callable[[Sheet], float] | None = None) -> list[Sheet]:
    """The images in the order in which they are worked on: by name, or by how sure their masks are, least first."""
    named = sorted(sheets, key=lambda sheet: (sheet.name, sheet.frame or 0))
    return named if sure is None else sorted(named, key=sure)
