"""Output files of one segmented case, written atomically."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from flipagents.formats.dicom_seg import seg_bytes
from flipagents.formats.nifti import Voxels, nifti_bytes
from flipagents.formats.scans import Scan
from flipagents.segment.origin import CORRECTIONS, KEY, MASK, UNMENDED, Origin, read_origin
from flipagents.segment.walk import Recording
from flipagents.store.files import replacing
from flipenv.pictures.film import write_gif, write_mp4
from flipenv.pictures.render import draw, overlay
from flipenv.pixels import Mask
from flipenv.types import Case


def output_paths(
    folder: Path,
    name: str,
    *,
    pictures: bool = True,
    curve: bool = False,
    gif: bool = False,
    mp4: bool = False,
    nifti: bool = False,
    seg: bool = False,
    corrections: bool = False,
) -> list[Path]:
    """Paths of the files of one case: mask, overlay unless `only_masks`, curve, film, NIfTI, DICOM, corrections."""
    requested = {
        MASK: True,
        "_overlay.png": pictures,
        "_curve.png": curve and pictures,
        ".gif": gif,
        ".mp4": mp4,
        "_mask.nii.gz": nifti,
        "_seg.dcm": seg,
        CORRECTIONS: corrections,
        UNMENDED: corrections,
    }
    return [folder / f"{name}{suffix}" for suffix, is_requested in requested.items() if is_requested]


def write_outputs(
    paths: Sequence[Path],
    case: Case,
    mask: Mask,
    recording: Recording | None = None,
    *,
    truth: Mask | None = None,
    voxels: Voxels | None = None,
    scan: Scan | None = None,
    spacing_mm: tuple[float, float] | None = None,
    origin: Origin | None = None,
    corrections: str = "",
    unmended: Mask | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write the files that `output_paths` named.

    NAME_mask.png is (height, width) of the image, 0 and 255, with its `origin` as text, `notes` as text by keyword
    (Latin-1, at most 79 characters), and its resolution if `spacing_mm`, (down, across) mm per pixel, is known;
    NAME_overlay.png the mask and box on the image, with `truth` dashed if given; NAME_curve.png the end of the recorded
    walk with the erased share (and score) after each step; NAME.gif and NAME.mp4 the walk; NAME_mask.nii.gz the mask on
    `voxels` (`flipagents.formats.nifti`); NAME_seg.dcm the mask as a Segmentation of the DICOM image `scan`
    (`flipagents.formats.dicom_seg`); NAME_corrections.json the text `corrections` (`flipagents.segment.corrections`);
    NAME_unmended.png the mask before them.

    Files of an earlier run are deleted before the first new one is written, including those that showed another mask
    and are not written now, so that no picture belongs to another mask. Raises OutputError, leaving all files
    unchanged, if the disk is full or not writable.
    """
    stale: list[Path] = []
    before = None if origin is None else read_origin(paths[0])
    if origin is not None and before is not None:
        left = set(before.files) - set(origin.files)
        if before.is_same_work(origin):
            origin = dataclasses.replace(origin, files=tuple(sorted({*origin.files, *left})))
        else:
            stale = [paths[0].with_name(name) for name in left]
    frame, axis = (None, None) if scan is None else (scan.frame, scan.axis)
    with replacing(paths, together=True, stale=stale) as parts:
        for path, part in parts.items():
            if path.suffix in (".gif", ".mp4"):
                assert recording is not None
                write = write_gif if path.suffix == ".gif" else write_mp4
                write(part, recording.frames, fps=12)
            elif path.suffix == ".gz":
                part.write_bytes(nifti_bytes(mask, voxels, spacing_mm, frame=frame, axis=axis))
            elif path.suffix == ".json":
                part.write_text(corrections, encoding="utf-8", newline="")
            elif path.suffix == ".dcm":
                part.write_bytes(seg_bytes(mask, scan))
            elif path.name.endswith(UNMENDED):
                assert unmended is not None
                part.write_bytes(mask_bytes(unmended))
            elif path.name.endswith("_curve.png"):
                assert recording is not None
                part.write_bytes(png_bytes(draw(recording.scene)))
            elif path.name.endswith("_overlay.png"):
                part.write_bytes(png_bytes(overlay(case.image, mask, case.box, truth)))
            else:
                part.write_bytes(mask_bytes(mask, origin, spacing_mm, notes))


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """Encode a grey (h, w) or RGB (h, w, 3) picture as PNG, in memory, because OpenCV hides why writing failed."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", ordered)
    return data.tobytes()


def mask_bytes(
    mask: Mask,
    origin: Origin | None = None,
    spacing_mm: tuple[float, float] | None = None,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """A mask as grey PNG, 0 and 255, with its origin, pixel spacing and notes, if given."""
    metadata = PngImagePlugin.PngInfo()
    if origin is not None:
        metadata.add_text(KEY, origin.text())
    for name, text in (notes or {}).items():
        metadata.add_text(name, text)
    resolution = {} if spacing_mm is None else {"dpi": (25.4 / spacing_mm[1], 25.4 / spacing_mm[0])}
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", pnginfo=metadata, **resolution)
    return file.getvalue()
