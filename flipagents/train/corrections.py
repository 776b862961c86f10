"""Masks that a person mended, as teachers: which training images they belong to. No torch.

FOLDER/NAME_mask.png              the mask after the corrections
FOLDER/NAME_corrections.json      the clicks, and of which image and box they are
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flipagents.segment.corrections import ACTIONS, Correction, CorrectionError, Subject, read_with_subject
from flipagents.segment.mend import Mender
from flipagents.segment.origin import CORRECTIONS, MASK, Origin, beside, is_whole, read_origin
from flipenv.errors import ConfigError
from flipenv.pixels import Mask
from flipenv.sources import Source, read_mask
from flipenv.sources.contents import digest
from flipenv.types import Case

NAMED = 3  # masks listed in a line
SAME = "the pixels of the image and the box must be the same as in the training data"


@dataclass(frozen=True)
class Mended:
    """The mended masks of a source's cases."""

    masks: Mapping[int, Mask]  # index of a case -> (height, width) bool
    cases: int  # in the source
    others: tuple[str, ...]  # files of mended masks of no case
    boxes: int  # of these, masks of a case's image with another box
    unclicked: int  # files of corrections without one, whose masks do not count

    def record(self) -> dict[str, Any]:
        """For `run.json`: the number of cases taught by masks, of how many, and a digest of cases and masks."""
        parts = [part for index in sorted(self.masks) for part in ((index,), self.masks[index])]
        return {"images": len(self.masks), "of": self.cases, "digest": digest(*parts)}

    def summary(self) -> str:
        """One line for the log."""
        line = f"corrections: {len(self.masks)} of {self.cases} training images are taught by mended masks"
        if self.others:
            line += f"; unused, as {SAME}: {_unused(self.others, self.boxes)}"
        return line + (f"; masks without a correction, which do not count: {self.unclicked}" if self.unclicked else "")


@dataclass(frozen=True)
class _Pair:
    """A mask's file, and its corrections."""

    mask: Path
    subject: Subject  # before the corrections
    corrections: Sequence[Correction]


def read_mended(folder: str | Path, source: Source) -> Mended:
    """Read the mended masks of a folder that belong to cases of a source, by the image's pixels and the box.

    A mask counts if its NAME_corrections.json holds at least one correction. Raises ConfigError if the folder has no
    such mask, or none of a case, or two of the same; CorrectionError for a file of corrections that is damaged, or
    whose mask is missing, truncated, empty, or not the one after these corrections; MaskError if a mask's size is not
    the image's; SourceError if a file cannot be read.
    """
    folder = Path(str(folder))
    pairs, unclicked = _pairs(folder)
    masks: dict[int, Mask] = {}
    images, used = set(), set()
    for index in range(len(source)):
        case = source.load(index)
        image = digest(case.image)
        images.add(image)
        place = image, tuple(case.box)
        if place in pairs:
            masks[index] = _read(pairs[place], case)
            used.add(place)
    others = {place: pair.mask.name for place, pair in pairs.items() if place not in used}
    boxes = sum(image in images for image, _ in others)
    if not masks:
        raise ConfigError(
            f"{folder}: none of its {len(pairs)} mended masks belongs to any of the {len(source)} training images; "
            f"{SAME}: {_unused(list(others.values()), boxes)}"
        )
    return Mended(masks, len(source), tuple(others.values()), boxes, unclicked)


def _pairs(folder: Path) -> tuple[dict[tuple[str, tuple[int, ...]], _Pair], int]:
    """Masks with corrections by image digest and box, and the number of files without a correction."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; expected one with {_expected()}")
    pairs: dict[tuple[str, tuple[int, ...]], _Pair] = {}
    files = sorted(folder.glob(f"*{CORRECTIONS}"))
    unclicked = 0
    for path in files:
        subject, corrections = read_with_subject(path)
        if not corrections:
            unclicked += 1
            continue
        mask = beside(path, MASK)
        if not mask.is_file():
            raise CorrectionError(f"{path}: its mask {mask.name} is missing; put it back, or remove the corrections")
        if not is_whole(mask):
            raise CorrectionError(f"{mask}: is truncated; mend it again, or remove {path.name}")
        place = subject.image, tuple(subject.box)
        if place in pairs:
            raise ConfigError(
                f"{folder}: {pairs[place].mask.name} and {mask.name} are masks of the same image and box; remove one"
            )
        pairs[place] = _Pair(mask, subject, corrections)
    if not pairs:
        raise ConfigError(
            f"{folder} has no mended mask ({len(files)} files {CORRECTIONS}, {unclicked} of them without a "
            f"correction); expected {_expected()}"
        )
    return pairs, unclicked


def _read(pair: _Pair, case: Case) -> Mask:
    """The mask of a pair, if it is the one after the corrections."""
    mask = read_mask(pair.mask, case.image.shape)
    file = beside(pair.mask, CORRECTIONS).name
    origin = read_origin(pair.mask)
    # a click may change nothing, so the mask before the clicks is only wrong if they would have changed it
    before = digest(mask) == pair.subject.mask and _replayed(mask, pair, case)
    if before or (origin is not None and not _tells(origin, pair, file)):
        raise CorrectionError(
            f"{pair.mask}: is not the mask after the corrections in {file}; mend it again, or remove {file}"
        )
    if not mask.any():
        raise CorrectionError(
            f"{pair.mask}: is empty, but a box of the training data holds a nodule; mend it, or remove {file}"
        )
    return mask


def _tells(origin: Origin, pair: _Pair, file: str) -> bool:
    """Whether a mask's origin tells that it was written with these corrections."""
    points = tuple((each.column, each.row, ACTIONS.index(each.action)) for each in pair.corrections)
    return file in origin.files and (origin.mended or origin.points == points)


def _replayed(mask: Mask, pair: _Pair, case: Case) -> bool:
    """Whether the corrections change this mask."""
    return bool((Mender(case.image, case.box, mask).replay(pair.corrections) != mask).any())


def _unused(names: Sequence[str], boxes: int) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    line = f"{', '.join(names[:NAMED])}{more}"
    return f"{line} ({boxes} of them of a training image with another box)" if boxes else line


def _expected() -> str:
    return f"NAME{MASK} and NAME{CORRECTIONS}, which `flip segment --points` and `flip app` write"
