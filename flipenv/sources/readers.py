"""Read a grey image or a mask from a file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError, MaskError, OrientationWarning
from flipenv.pixels import Grey, Mask
from flipenv.sources.contents import file_bytes
from flipenv.sources.labels import as_mask
from flipenv.sources.medical import count_dicom, decode_dicom
from flipenv.sources.nifti import count_nifti, decode_nifti
from flipenv.sources.orientation import UPRIGHT
from flipenv.sources.pictures import count_pages, decode_picture, decode_picture_labels


def read_image(
    path: str | os.PathLike[str],
    *,
    frame: int | None = None,
    axis: str | None = None,
    limit: int | None = None,
    upright: bool = False,
) -> Grey:
    """Return the grey image in a file as a (height, width) uint8 array.

    PNG, JPEG, TIFF and BMP must hold 8-bit grey levels: palette and colour images are accepted if their channels are
    equal, an alpha channel if it is opaque. Pixels are returned as stored: an EXIF or TIFF orientation is not applied
    but raises an OrientationWarning. DICOM and NIfTI are windowed to 8 bits, see `flipenv.sources.medical` and `nifti`.

    Args:
        path: the file; DICOM is recognised by `.dcm` or its magic bytes, NIfTI by `.nii` or `.nii.gz`.
        frame: frame of a DICOM cine loop, page of a TIFF or slice of a NIfTI volume, from 0; optional if there is only
            one.
        axis: voxel axis, x, y or z, that the slices of a NIfTI volume are numbered along; None for z.
        limit: maximum number of pixels; None for trusted files.
        upright: raise instead of warning for an orientation, for boxes drawn in a viewer.

    Raises:
        SourceError: the file is missing or unreadable.
        ImageError: it is damaged, larger than `limit`, not 8-bit grey, not `upright`, or has several frames and none is
            given; or has no slices along an `axis`.
        MissingDependencyError: DICOM or NIfTI without `pip install flip-learning[medical]`.
    """
    path = Path(path)
    data = file_bytes(path)
    if is_nifti(path):
        return one_channel(decode_nifti(path, frame, axis, limit=limit), path)
    check_axis(path, axis)
    if is_dicom(path, data):
        return one_channel(decode_dicom(path, data, frame, limit=limit), path)
    pixels, orientation = decode_picture(path, data, frame, limit)
    check_upright(path, orientation, upright)
    return one_channel(pixels, path)


def read_mask(path: str | os.PathLike[str], shape: tuple[int, ...], *, limit: int | None = None) -> Mask:
    """Return the mask in a file as a (height, width) bool array: True where a pixel is not 0, or not black.

    The file holds 0 and one other value, or labels: whole numbers from 0, or colours on black. Fully transparent pixels
    are black. Pixels are returned as stored. JPEG is rejected, as it blurs the edge of a mask.

    Args:
        path: the file, in any format of `read_image`.
        shape: (height, width) of its image.
        limit: as `read_image`.

    Raises:
        SourceError: the file is missing or unreadable.
        ImageError: it is damaged, or larger than `limit`.
        MaskError: it is a JPEG, differs in size from the image, or holds NaN, negatives, fractions, or several values
            without 0.
        MissingDependencyError: DICOM or NIfTI without `pip install flip-learning[medical]`.
    """
    path = Path(path)
    data = file_bytes(path)
    if is_nifti(path):
        values = decode_nifti(path, raw=True, limit=limit)
    elif is_dicom(path, data):
        values = decode_dicom(path, data, raw=True, limit=limit)
    else:
        values = decode_picture_labels(path, data, limit)
    if values.shape[:2] != tuple(shape):
        raise MaskError(
            f"{path}: mask is {_size(values.shape[:2])} but its image is {_size(shape)} (height x width); "
            "expected equal sizes: resample the mask with nearest neighbour, or use the right file"
        )
    return as_mask(path, values)


def count_frames(path: Path, axis: str | None = None) -> int:
    """Number of frames of a DICOM cine loop, pages of a TIFF, or slices of a NIfTI volume along an axis (None for z).

    1 for other and for damaged files. Raises SourceError if the file is missing or unreadable, MissingDependencyError
    as `read_image`.
    """
    data = file_bytes(path)
    if is_nifti(path):
        return count_nifti(path, axis)
    return count_dicom(path, data) if is_dicom(path, data) else count_pages(data)


def is_nifti(path: Path) -> bool:
    """Whether a file is NIfTI, by its name."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_dicom(path: Path, data: bytes) -> bool:
    """Whether a file is DICOM, by its name or the magic bytes in its `data`."""
    return path.suffix.lower() in (".dcm", ".dicom") or data[128:132] == b"DICM"


def check_axis(path: Path, axis: str | None) -> None:
    """Raise ImageError for an axis of a file that is not NIfTI."""
    if axis is not None:
        raise ImageError(f"{path}: is not NIfTI, whose volumes alone have an axis {axis!r} of slices; leave it out")


def check_upright(path: Path, orientation: int, upright: bool) -> None:
    """Warn of pixels that viewers mirror or rotate, or raise ImageError if they must be `upright`."""
    if orientation == UPRIGHT:
        return
    turned = (
        f"viewers mirror or rotate it (orientation {orientation}), so boxes drawn there do not fit: save it upright"
    )
    if upright:
        raise ImageError(f"{path}: {turned}")
    warnings.warn(f"{path}: pixels are read as stored, but {turned}", OrientationWarning, stacklevel=3)


def one_channel(pixels: NDArray[np.uint8], path: Path) -> Grey:
    """The grey levels of an image whose channels are equal; ImageError for colour."""
    if pixels.ndim == 2:
        return pixels
    spread = pixels.max(axis=2) - pixels.min(axis=2)
    if spread.any():
        raise ImageError(
            f"{path}: found colour (channels differ by up to {spread.max()} grey levels in {(spread > 0).mean():.1%} "
            "of the pixels); expected grey levels: if the colour means nothing, convert the file first, for example "
            f"Image.open({path.name!r}).convert('L').save(...)"
        )
    return np.ascontiguousarray(pixels[:, :, 0])


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
