"""Read a grey image or a mask from a file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError, MaskError, OrientationWarning
from flipenv.pixels import Grey, Mask
from flipenv.sources.contents import check_frame, file_bytes
from flipenv.sources.labels import inside
from flipenv.sources.medical import count_dicom, decode_dicom, decode_nifti
from flipenv.sources.orientation import UPRIGHT
from flipenv.sources.pictures import count_pages, decode_picture, decode_picture_labels


def read_image(
    path: str | os.PathLike[str], *, frame: int | None = None, limit: int | None = None, upright: bool = False
) -> Grey:
    """Return the grey image in a file as a (height, width) uint8 array.

    PNG, JPEG, TIFF and BMP must hold 8-bit grey levels: palettes and colour pictures are taken when their three
    channels are equal, an alpha channel when it is opaque everywhere. Pixels stay as they are stored, in every format:
    the orientation in EXIF data or TIFF tags, by which viewers mirror or turn a picture, is not applied, and an
    OrientationWarning names the file. DICOM and NIfTI are windowed to 8 bits, see `flipenv.sources.medical`.

    Args:
        path: the file; DICOM is known by `.dcm` or its own mark, NIfTI by `.nii` or `.nii.gz`.
        frame: which frame of a DICOM cine loop or page of a TIFF, from 0; may be left out where there is one.
        limit: the most pixels that are decoded; None for files that are trusted.
        upright: refuse a picture that viewers turn, instead of warning: for boxes that were drawn in a viewer.

    Raises:
        SourceError: there is no such file.
        ImageError: it is damaged, larger than `limit`, not 8-bit grey, not `upright` where it has to be, or has several
            frames and none is named; the message says what to do.
        MissingDependencyError: DICOM or NIfTI without `pip install flip-learning[medical]`.
    """
    path = Path(path)
    data = file_bytes(path)
    if is_nifti(path):
        check_frame(path, frame, 1)
        return _one_channel(decode_nifti(path, limit=limit), path)
    if is_dicom(path, data):
        return _one_channel(decode_dicom(path, data, frame, limit=limit), path)
    pixels, orientation = decode_picture(path, data, frame, limit)
    if orientation != UPRIGHT:
        turned = (
            f"viewers mirror or turn it (orientation {orientation}) and a box drawn there does not fit: save it upright"
        )
        if upright:
            raise ImageError(f"{path}: {turned}")
        warnings.warn(f"{path}: pixels are taken as they are stored, but {turned}", OrientationWarning, stacklevel=2)
    return _one_channel(pixels, path)


def read_mask(path: str | os.PathLike[str], shape: tuple[int, ...], *, limit: int | None = None) -> Mask:
    """Return the mask in a file as a (height, width) bool array: True where a pixel is not 0, or not black.

    The file holds 0 and one other value, or labels: whole numbers from 0, or colours on black. Fully transparent pixels
    are black. Pixels stay as they are stored, as in `read_image`. JPEG is refused: it smears the edge of a mask.

    Args:
        path: the file, in a format of `read_image`.
        shape: (height, width) of the image that the mask belongs to.
        limit: as `read_image`.

    Raises:
        SourceError: there is no such file.
        ImageError: it is damaged, or larger than `limit`.
        MaskError: it is a JPEG, its size is not that of the image, or it holds other numbers: NaN, negative ones,
            fractions, several values and no 0.
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
            "they must be drawn on the same pixels: resample the mask with nearest neighbour, or find the right file"
        )
    return inside(path, values)


def count_frames(path: Path) -> int:
    """How many frames a DICOM cine loop has, or pages a TIFF; 1 for all else, and for what `read_image` refuses.

    Raises SourceError where there is no such file, MissingDependencyError as `read_image`.
    """
    data = file_bytes(path)
    if is_nifti(path):
        return 1
    return count_dicom(path, data) if is_dicom(path, data) else count_pages(data)


def is_nifti(path: Path) -> bool:
    """Whether a file is taken for NIfTI, which its name decides."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def is_dicom(path: Path, data: bytes) -> bool:
    """Whether a file is taken for DICOM: by its name, or by the mark in the first 132 bytes of its `data`."""
    return path.suffix.lower() in (".dcm", ".dicom") or data[128:132] == b"DICM"


def _one_channel(pixels: NDArray[np.uint8], path: Path) -> Grey:
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
