"""Masks in the formats of other tools: COCO instances with run lengths, and NIfTI on the voxels of the image."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.sources.base import ListedSource, Source
from flipenv.sources.busi import BusiCase
from flipenv.sources.coco import CocoCase
from flipenv.sources.extras import need
from flipenv.sources.files import FileCase
from flipenv.sources.readers import is_nifti
from flipenv.types import Box

CATEGORY = "nodule"

Mask: TypeAlias = NDArray[np.bool_]  # (height, width)


@dataclass(frozen=True, eq=False)
class Labelled:
    """One mask, and what a COCO file says beside it."""

    file: str  # the image file, as seen from the folder of the COCO file
    box: Box  # that the mask was made from
    mask: Mask
    frame: int | None = None  # of the file, where it has several
    ids: Ids | None = None  # in the COCO file that the box came from


@dataclass(frozen=True)
class Ids:
    """Ids of one annotation, by which what is written joins with what was read; whatever COCO files use as ids."""

    annotation: Any
    image: Any
    category: Any = None  # None where the annotation named no category


@dataclass(frozen=True, eq=False)
class Voxels:
    """How a NIfTI image lies in space."""

    shape: tuple[int, ...]  # columns, rows, then ones
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    header: Any  # nibabel's: spacing, units and the codes of the affine


def coco_json(labelled: Iterable[Labelled], categories: Sequence[Mapping[str, Any]] | None = None) -> str:
    """COCO instances, one annotation a mask; masks with the same file and frame are on one image.

    `bbox` is the box that the mask was made from, so that `flip segment FILE.json` does the same again; `segmentation`
    holds compressed run lengths, `area` their pixels. Masks with `ids` keep them, of image, annotation and category;
    others are numbered from 1 and of the category `nodule`.

    categories: of the COCO file that ids come from. Raises MissingDependencyError without pycocotools.
    """
    tools = need("pycocotools.mask", extra="coco", purpose="writing COCO run lengths")
    images: dict[tuple[str, int | None], dict[str, Any]] = {}
    annotations = []
    for number, each in enumerate(labelled, start=1):
        height, width = each.mask.shape
        about = {"file_name": each.file, "height": height, "width": width}
        about |= {} if each.frame is None else {"frame": each.frame}
        ids = each.ids or Ids(number, len(images) + 1, 1)
        image = images.setdefault((each.file, each.frame), {"id": ids.image, **about})
        lengths = tools.encode(np.asfortranarray(each.mask, np.uint8))
        annotations.append(
            {
                "id": ids.annotation,
                "image_id": image["id"],
                **({} if ids.category is None else {"category_id": ids.category}),
                "bbox": [each.box.left, each.box.top, each.box.width, each.box.height],
                "area": int(each.mask.sum()),
                "segmentation": {"size": [height, width], "counts": lengths["counts"].decode()},
                "iscrowd": 0,
            }
        )
    content = {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": 1, "name": CATEGORY}] if categories is None else list(categories),
    }
    return json.dumps(content, indent=1) + "\n"


def path_from(folder: Path, file: Path) -> str:
    """Where a file lies, seen from a folder, with slashes; its whole path where no way leads there (another drive)."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:
        return file.absolute().as_posix()


def read_voxels(path: Path) -> Voxels | None:
    """How the image in a file lies in space; None where it is not NIfTI.

    Raises ImageError for a damaged file, MissingDependencyError without nibabel.
    """
    if not is_nifti(path):
        return None
    nibabel = need("nibabel", extra="medical", purpose=f"{path}: reading NIfTI")
    try:
        picture = nibabel.load(path)
        return Voxels(tuple(picture.shape), np.asarray(picture.affine, float), picture.header.copy())
    # Damaged files make nibabel raise nearly anything.
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as NIfTI ({error}); copy, download or export it again") from error


def nifti_bytes(mask: Mask, voxels: Voxels | None = None, spacing_mm: tuple[float, float] | None = None) -> bytes:
    """The mask as .nii.gz, 0 and 1 in uint8; the same mask gives the same bytes.

    With `voxels` it lies where its image lies. Without, the first axis runs along the columns and the second down the
    rows, as flipenv reads NIfTI, and the affine scales by `spacing_mm`, (down, across) mm a pixel; where that is not
    known either, a voxel is 1 of no unit. Raises MissingDependencyError without nibabel.
    """
    nibabel = need("nibabel", extra="medical", purpose="writing NIfTI")
    turned = np.ascontiguousarray(mask.T, np.uint8)
    if voxels is not None:
        picture = nibabel.Nifti1Image(turned.reshape(voxels.shape), voxels.affine, voxels.header)
        picture.set_data_dtype(np.uint8)
        picture.header["cal_min"] = picture.header["cal_max"] = 0  # the image's display window
    elif spacing_mm is not None:
        down, across = spacing_mm
        picture = nibabel.Nifti1Image(turned, np.diag([across, down, 1, 1]))
        picture.header.set_xyzt_units("mm")
    else:
        picture = nibabel.Nifti1Image(turned, np.eye(4))
    return gzip.compress(picture.to_bytes(), mtime=0)


@dataclass(frozen=True)
class Scan:
    """Where a case's image is read from."""

    file: Path
    frame: int | None = None  # of the file, where it has several


def scan_of(source: Source, index: int) -> Scan | None:
    """Where a case's image is read from; None where it is not in a file of its own."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    if isinstance(entry, FileCase | CocoCase):
        return Scan(entry.image, entry.frame)
    return Scan(entry.image) if isinstance(entry, BusiCase) else None


def ids_of(source: Source, index: int) -> Ids | None:
    """The ids of a case in the COCO file that it comes from; None where it comes from elsewhere."""
    entry = source.entries[index] if isinstance(source, ListedSource) else None
    return Ids(entry.number, entry.image_id, entry.category_id) if isinstance(entry, CocoCase) else None
