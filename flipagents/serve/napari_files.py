"""Mended masks of napari to disk, and back: the files of `flip app`, NAME_mask.png with its corrections beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flipagents.segment.corrections import (
    Correction,
    CorrectionError,
    corrections_json,
    read_corrections,
    read_with_subject,
)
from flipagents.segment.mend import Mender
from flipagents.segment.origin import CORRECTIONS, MASK, UNMENDED, beside
from flipagents.segment.outputs import mask_bytes
from flipagents.serve.napari_nodules import Nodules
from flipagents.store.files import OutputError, file_names, replacing
from flipenv.checks import check_image
from flipenv.errors import ConfigError, EpisodeError
from flipenv.pixels import Grey
from flipenv.sources import read_mask
from flipenv.sources.contents import digest
from flipenv.sources.files import image_name


def save(folder: Path, name: str, frames: Mapping[tuple[int, ...], Nodules], known: set[Path]) -> list[Path]:
    """Write every mask of an image: NAME_mask.png, or NAME-frame3_mask.png of a stack, NAME~2_mask.png of another box.

    A mask with corrections comes with NAME_corrections.json and NAME_unmended.png, the mask before them. Empty masks
    are left out. known: masks that may be replaced; those written are added. Returns the masks' paths, in order of
    frame and label. Raises EpisodeError without a mask, OutputError, before anything is written, for a mask that is
    there already and not known, as it may be a true mask, and for a folder that is not writable.
    """
    made = [(index, each) for index in sorted(frames) for _, each in sorted(frames[index].now.items())]
    made = [(index, mender) for index, mender in made if mender.mask.any()]
    if not made:
        raise EpisodeError("there is no mask to save; draw a box and press Segment first")
    stem = image_name(name)
    names = file_names([f"{stem}-frame{'-'.join(map(str, index))}" if index else stem for index, _ in made])
    contents: dict[Path, bytes] = {}
    stale = []
    masks = [folder / f"{each}{MASK}" for each in names]
    for path, (_, mender) in zip(masks, made, strict=True):
        corrections, unmended = beside(path, CORRECTIONS), beside(path, UNMENDED)
        there = [each for each in (path, corrections, unmended) if each.exists()]
        if there and path not in known:
            raise OutputError(f"{there[0]}: it is there already; choose another folder")
        contents[path] = mask_bytes(mender.mask)
        if mender.corrections:
            contents[corrections] = corrections_json(mender.subject, mender.corrections).encode()
            contents[unmended] = mask_bytes(mender.base)
        else:
            stale += [corrections, unmended]
    with replacing(list(contents), together=True, stale=stale) as parts:
        for path, part in parts.items():
            part.write_bytes(contents[path])
    known.update(masks)
    return masks


def open_corrections(path: Path, image: Grey, nodules: Nodules) -> tuple[Mender, list[Correction]]:
    """A mender of the mask before a file's corrections, and these, to be applied to it.

    The mask before them is NAME_unmended.png beside the file, or else one of `nodules` before its first click. Raises
    CorrectionError for corrections of another image, box or mask, ConfigError if there is no mask before them;
    otherwise as reading the files.
    """
    check_image(image)
    subject, _ = read_with_subject(path)
    if subject.image != digest(image):
        raise CorrectionError(f"{path}: holds corrections of another image; choose the layer and frame clicked on")
    unmended = beside(path, UNMENDED)
    if unmended.exists():
        base = read_mask(unmended, image.shape)
    else:
        menders = [mender for mender in nodules.now.values() if mender.subject == subject]
        if not menders:
            top, left, bottom, right = subject.box
            raise ConfigError(
                f"{unmended} is missing, and no mask here is the one before the corrections; draw the box from column "
                f"{left} to {right - 1}, row {top} to {bottom - 1}, and press Segment, by the same method and weights"
            )
        base = menders[0].base
    mender = Mender(image, subject.box, base)
    return mender, read_corrections(path, mender.subject)


def mask_of(corrections: Path) -> Path:
    """The mask that a file of corrections lies beside."""
    return beside(corrections, MASK)
