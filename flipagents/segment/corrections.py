"""A person's corrections of a mask: what one click says, and a file of them that knows which mask they belong to."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flipagents.store.files import write_texts
from flipenv.errors import FlipError
from flipenv.pixels import Grey, Mask
from flipenv.sources.contents import digest, file_bytes
from flipenv.types import Box

ERASE, PASS = "erase", "pass"
ACTIONS = (PASS, ERASE)  # by label: 0 is a negative point, 1 a positive one
FORMAT = "flip corrections 1"  # of the file; a new number where the same clicks would give another mask


class CorrectionError(FlipError):
    """A correction that does not fit its image, or a file of corrections that does not belong to a mask."""


@dataclass(frozen=True)
class Correction:
    """One click: the action on the superpixel under it, and how far it spreads."""

    row: int  # px of the image
    column: int  # px of the image
    action: str  # "erase": belongs to the nodule; "pass": does not
    reach: float  # 0: this superpixel alone; 1: as far beyond the click as the outline is before it
    cell_area: float  # image px² a superpixel
    time: str = ""  # ISO 8601, UTC

    def __post_init__(self) -> None:
        for name in ("row", "column"):
            object.__setattr__(self, name, _pixel(name, getattr(self, name)))
        if self.action not in ACTIONS:
            raise CorrectionError(f"action={self.action!r}; expected 'erase' (nodule) or 'pass' (not nodule)")
        for name, least in (("reach", 0.0), ("cell_area", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
                raise CorrectionError(f"{name}={value!r}; expected a number, at least {least:g}")
            object.__setattr__(self, name, float(value))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Correction:
        """From what `to_dict` gave; CorrectionError for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            raise CorrectionError(f"correction {values!r}; expected an object with {', '.join(sorted(names))}")
        return cls(**values)


@dataclass(frozen=True)
class Subject:
    """What corrections belong to, by content: the same clicks on anything else would give another mask."""

    image: str  # digest of the image's pixels
    box: tuple[int, int, int, int]  # top, left, bottom, right, px of the image
    mask: str  # digest of the mask before the first correction

    @classmethod
    def of(cls, image: Grey, box: Box, mask: Mask) -> Subject:
        """The subject of image (height, width) uint8, box and mask (height, width) bool before the corrections."""
        return cls(digest(image), (int(box[0]), int(box[1]), int(box[2]), int(box[3])), digest(mask))


def _pixel(name: str, value: Any) -> int:
    try:
        pixel = operator.index(value)
    except TypeError:
        pixel = -1
    if isinstance(value, bool) or pixel < 0:
        raise CorrectionError(f"{name}={value!r}; expected a whole number of pixels, from 0")
    return pixel


def now() -> str:
    """The time in UTC as ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_corrections(path: Path, subject: Subject, corrections: Sequence[Correction]) -> None:
    """Write corrections with their subject as JSON, atomically; OutputError if that fails."""
    write_texts({path: corrections_json(subject, corrections)})


def corrections_json(subject: Subject, corrections: Sequence[Correction]) -> str:
    """The text of a file of corrections."""
    values = {"format": FORMAT, **dataclasses.asdict(subject), "corrections": [each.to_dict() for each in corrections]}
    return json.dumps(values, indent=1) + "\n"


def read_corrections(path: Path, subject: Subject | None = None) -> list[Correction]:
    """Read a file of corrections, in their order.

    subject: what they are to be applied to. Raises CorrectionError for a file of another image, box or mask, and for
    anything else than a file of corrections; SourceError if it cannot be read.
    """
    found, corrections = _read(path)
    if subject is not None and found != subject:
        raise CorrectionError(f"{path}: holds corrections of {_difference(found, subject)}")
    return corrections


def read_subject(path: Path) -> Subject:
    """What a file's corrections belong to; raises as `read_corrections`."""
    return _read(path)[0]


def _read(path: Path) -> tuple[Subject, list[Correction]]:
    text = file_bytes(path)
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise CorrectionError(f"has the format {values['format']!r}, not {FORMAT!r}")
        found = Subject(values["image"], tuple(values["box"]), values["mask"])
        corrections = [Correction.from_dict(each) for each in values["corrections"]]
    except (ValueError, KeyError, TypeError) as error:  # FlipError is a ValueError
        raise CorrectionError(
            f"{path}: is not a file of corrections ({error}); expected one that `flip segment --points` wrote"
        ) from None
    return found, corrections


def _difference(found: Subject, wanted: Subject) -> str:
    if found.image != wanted.image:
        return "another image; give the image that was clicked on"
    if found.box != wanted.box:
        return f"box {found.box}, not of {wanted.box} (top, left, bottom, right); give that box"
    return "another mask of this image and box; make the first mask by the same method and weights"
