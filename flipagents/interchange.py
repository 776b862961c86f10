"""Masks in the formats of other tools: COCO instances with run lengths, and NIfTI on the voxels of the image."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
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

    file: str  # name of the image file, without folders
    box: Box  # that the mask was made from
    mask: Mask
    frame: int | None = None  # of the file, where it has several


@dataclass(frozen=True, eq=False)
class Voxels:
    """How a NIfTI image lies in space."""

    shape: tuple[int, ...]  # columns, rows, then ones
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    header: Any  # nibabel's: spacing, units and the codes of the affine


def coco_json(labelled: Iterable[Labelled]) -> str:
    """COCO instances, one annotation a mask; masks with the same file and frame are on one image.

    `bbox` is the box that the mask was made from, so that `flip segment FILE.json` does the same again; `segmentation`
    holds compressed run lengths, `area` their pixels. Raises MissingDependencyError without pycocotools.
    """
    tools = need("pycocotools.mask", extra="coco", purpose="writing COCO run lengths")
    images: dict[tuple[str, int | None], dict[str, Any]] = {}
    annotations = []
    for number, each in enumerate(labelled, start=1):
        height, width = each.mask.shape
        about = {"file_name": each.file, "height": height, "width": width}
        about |= {} if each.frame is None else {"frame": each.frame}
        image = images.setdefault((each.file, each.frame), {"id": len(images) + 1, **about})
        lengths = tools.encode(np.asfortranarray(each.mask, np.uint8))
        annotations.append(
            {
                "id": number,
                "image_id": image["id"],
                "category_id": 1,
                "bbox": [each.box.left, each.box.top, each.box.width, each.box.height],
                "area": int(each.mask.sum()),
                "segmentation": {"size": [height, width], "counts": lengths["counts"].decode()},
                "iscrowd": 0,
            }
        )
    content = {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": 1, "name": CATEGORY}],
    }
    return json.dumps(content, indent=1) + "\n"


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


def nifti_bytes(mask: Mask, voxels: Voxels | None = None) -> bytes:
    """The mask as .nii.gz, 0 and 1 in uint8; the same mask gives the same bytes.

    With `voxels` it lies where its image lies. Without, the first axis runs along the columns and the second down the
    rows, as flipenv reads NIfTI, a voxel is 1 of no unit, and the affine is the identity.
    Raises MissingDependencyError without nibabel.
    """
    nibabel = need("nibabel", extra="medical", purpose="writing NIfTI")
    turned = np.ascontiguousarray(mask.T, np.uint8)
    if voxels is None:
        picture = nibabel.Nifti1Image(turned, np.eye(4))
    else:
        picture = nibabel.Nifti1Image(turned.reshape(voxels.shape), voxels.affine, voxels.header)
        picture.set_data_dtype(np.uint8)
        picture.header["cal_min"] = picture.header["cal_max"] = 0  # the image's display window
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
