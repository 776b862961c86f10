"""Masks from the page to disk: all as one download, and one back to where `flip app --mend` took it from."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path

from flipagents.formats.coco import Labelled, coco_json
from flipagents.formats.scans import Scan
from flipagents.formats.spacing import spacing_of
from flipagents.segment.corrections import corrections_json, read_corrections
from flipagents.segment.origin import CORRECTIONS, MASK, UNMENDED, Origin, beside, read_origin
from flipagents.segment.outputs import output_paths, write_outputs
from flipagents.serve import service
from flipagents.serve.page_state import Nodule, Sheet
from flipagents.serve.page_weights import Choices
from flipagents.serve.service import Result
from flipagents.store.files import file_names, replacing
from flipagents.store.provenance import weights_digest
from flipenv.errors import ConfigError, EpisodeError, SourceError
from flipenv.sources import read_mask
from flipenv.types import Box

ZIP = "masks.zip"
COCO = "coco.json"
REWRITTEN = ("_overlay.png", "_mask.nii.gz", "_seg.dcm")  # written with a mask, and made again from a mended one


def write_zip(path: Path, sheets: Sequence[Sheet]) -> int:
    """Write all masks, with their corrections, as `flip segment` names them; return their number.

    Raises EpisodeError if there is none.
    """
    made = [(sheet, nodule) for sheet in sheets for nodule in sheet.nodules if nodule.mask is not None]
    if not made:
        raise EpisodeError("there is no mask yet; draw a box and press 'Segment'")
    names = file_names([sheet.picture.name for sheet, _ in made])
    folder = path.parent / "files"
    labelled = []
    for (sheet, nodule), name in zip(made, names, strict=True):
        assert nodule.result is not None
        assert nodule.mask is not None
        picture = sheet.picture
        write_outputs(
            [*output_paths(folder, name, nifti=True), *_mended(folder / f"{name}{MASK}", nodule)],
            nodule.result.case,
            nodule.mask,
            truth=picture.truth,
            voxels=picture.voxels,
            scan=picture.scan,
            corrections=_text(nodule),
            unmended=nodule.result.mask,
        )
        if picture.made:
            service.write_image(folder, picture)
        labelled.append(Labelled(picture.file, nodule.result.case.box, nodule.mask, picture.frame))
    (folder / COCO).write_text(coco_json(labelled), encoding="utf-8")
    with replacing([path]) as parts, zipfile.ZipFile(parts[path], "w", zipfile.ZIP_DEFLATED) as file:
        for each in sorted(folder.iterdir()):
            file.write(each, each.name)
            each.unlink()
    folder.rmdir()
    return len(made)


def open_mask(mask: Path) -> Sheet:
    """A mask that `flip segment` wrote, with its image, box and earlier corrections, to be mended.

    Raises ConfigError for a mask without origin, or without an image file; otherwise as reading the files.
    """
    if not mask.exists():
        raise SourceError(f"{mask} does not exist; expected a NAME{MASK} written by `flip segment`")
    origin = read_origin(mask)
    if origin is None or not mask.name.endswith(MASK):
        raise ConfigError(f"{mask} does not record its origin; expected a NAME{MASK} written by `flip segment`")
    if origin.image is None:
        raise ConfigError(f"{mask} is the mask of a case without an image file; only masks of image files are mended")
    sheet = Sheet(mask.parent / origin.image, origin.frame, target=mask)
    box = Box.from_xyxy(*origin.box)
    corrections, unmended = beside(mask, CORRECTIONS), beside(mask, UNMENDED)
    before = unmended if origin.is_by_hand else mask
    first = read_mask(before, sheet.picture.image.shape)
    nodule = Nodule(box)
    nodule.make(Result(origin.method, sheet.picture.case(box), first), (box, origin.margin, origin.method, ""))
    if origin.is_by_hand:
        mender = nodule.mending()
        mender.replay(read_corrections(corrections, mender.subject))
    sheet.nodules = [nodule]
    return sheet


def write_back(sheet: Sheet, choices: Choices) -> str:
    """Write the mask of `flip app --mend` back, with its corrections and the mask before them; say what was written.

    Pictures and files written with it are made again, films of the agents deleted. Raises ConfigError if another
    command changed the mask meanwhile so that it has no origin; OutputError if the folder is not writable.
    """
    nodule, mask = sheet.nodules[0], sheet.target
    if mask is None or nodule.result is None or nodule.given is None or nodule.mask is None:
        raise EpisodeError("there is no mask to write back; start with 'flip app --mend OUT/NAME_mask.png'")
    before = read_origin(mask)
    if before is None:
        raise ConfigError(f"{mask.name} no longer records its origin; save all instead")
    mended = _mended(mask, nodule)
    name = mask.name.removesuffix(MASK)
    paths = [mask, *(mask.parent / f"{name}{end}" for end in REWRITTEN if f"{name}{end}" in before.files), *mended]
    scan = Scan(sheet.file, sheet.frame) if sheet.file else None
    files = tuple(sorted(path.name for path in paths[1:]))
    write_outputs(
        paths,
        nodule.result.case,
        nodule.mask,
        truth=sheet.picture.truth,
        voxels=sheet.picture.voxels,
        scan=scan,
        spacing_mm=spacing_of(scan),
        origin=dataclasses.replace(_made(before, nodule, choices), mended=bool(mended), files=files),
        corrections=_text(nodule),
        unmended=nodule.result.mask,
    )
    count = len(nodule.corrections)
    return f"{mask.name} written with {count or 'no'} correction{'s' * (count != 1)}."


def _made(before: Origin, nodule: Nodule, choices: Choices) -> Origin:
    """The origin of the mask before its corrections, which may have been segmented again on the page."""
    assert nodule.given is not None
    box, margin, method, weights = nodule.given
    if not weights:
        return before
    digest = weights_digest(choices.of(weights).folder)
    place = (box.left, box.top, box.right, box.bottom)
    return dataclasses.replace(before, box=place, margin=margin, method=method, weights=digest)


def _mended(mask: Path, nodule: Nodule) -> list[Path]:
    """Files of the corrections of a mask, and of the mask before them; none without corrections."""
    return [beside(mask, end) for end in (CORRECTIONS, UNMENDED)] if nodule.corrections else []


def _text(nodule: Nodule) -> str:
    return "" if nodule.mender is None else corrections_json(nodule.mender.subject, nodule.corrections)
