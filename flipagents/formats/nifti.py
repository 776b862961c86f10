"""Masks as NIfTI, on the voxel grid of their image."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.pixels import Mask
from flipenv.sources.extras import need
from flipenv.sources.nifti import slices_along
from flipenv.sources.readers import is_nifti


@dataclass(frozen=True, eq=False)
class Voxels:
    """Spatial header of a NIfTI image."""

    shape: tuple[int, ...]  # as `flipenv.sources.nifti.slices_along` takes it
    affine: NDArray[np.float64]  # (4, 4), voxel to mm
    header: Any  # nibabel's: spacing, units and affine codes


def read_voxels(path: Path) -> Voxels | None:
    """Spatial header of the image in a file; None if it is not NIfTI.

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


def nifti_bytes(
    mask: Mask,
    voxels: Voxels | None = None,
    spacing_mm: tuple[float, float] | None = None,
    *,
    frame: int | None = None,
    axis: str | None = None,
) -> bytes:
    """The mask as .nii.gz, 0 and 1 in uint8; the same mask gives the same bytes.

    With `voxels` it lies where its image lies: in a volume it is slice `frame` along an `axis`, and the others are
    empty. Without, the first axis runs along the columns and the second down the rows, as flipenv reads NIfTI, and the
    affine scales by `spacing_mm`, (down, across) mm a pixel; where that is not known either, a voxel is 1 of no unit.
    Raises ImageError where `voxels` are no geometry, MissingDependencyError without nibabel.
    """
    return film_bytes({frame or 0: mask}, voxels, spacing_mm, axis=axis)


def film_bytes(
    masks: Mapping[int, Mask],
    voxels: Voxels | None = None,
    spacing_mm: tuple[float, float] | None = None,
    *,
    count: int = 1,
    axis: str | None = None,
) -> bytes:
    """The masks of some frames of a film or slices of a volume, by number, as one .nii.gz; other frames are empty.

    count: of all frames; a film's are the third axis of its mask, and of no known distance. Otherwise as `nifti_bytes`.
    """
    nibabel = need("nibabel", extra="medical", purpose="writing NIfTI")
    if voxels is None:
        height, width = next(iter(masks.values())).shape
        turned = np.zeros((width, height, count), np.uint8)
        for frame, mask in masks.items():
            turned[:, :, frame if count > 1 else 0] = mask.T
        turned = turned if count > 1 else turned[:, :, 0]
        down, across = spacing_mm or (1.0, 1.0)
        picture = nibabel.Nifti1Image(turned, np.diag([across, down, 1, 1]))
        if spacing_mm is not None:
            picture.header.set_xyzt_units("mm")
        return gzip.compress(picture.to_bytes(), mtime=0)
    try:
        slices = slices_along(Path("mask"), voxels.shape, axis)
        filled = np.zeros(voxels.shape, np.uint8)
        for frame, mask in masks.items():
            where = slices.where(voxels.shape, frame)
            filled[where] = slices.voxels(mask, filled[where].shape)
        picture = nibabel.Nifti1Image(filled, voxels.affine, voxels.header)
        picture.set_data_dtype(np.uint8)
        picture.header["cal_min"] = picture.header["cal_max"] = 0  # the image's display window
        return gzip.compress(picture.to_bytes(), mtime=0)
    # An affine or voxel sizes that are no numbers make nibabel raise nearly anything.
    except Exception as error:
        raise ImageError(
            f"its NIfTI header places no voxel ({error}), so no mask can be written beside it: mend its affine and "
            "pixdim, or leave the export nifti out"
        ) from error
