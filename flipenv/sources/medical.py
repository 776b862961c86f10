"""DICOM through pydicom and NIfTI through nibabel, shown in 8 bits as a viewer would show them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.sources.base import naming
from flipenv.sources.contents import check_extent, check_frame
from flipenv.sources.extras import need
from flipenv.sources.grey_levels import shown, to_uint8


def decode_dicom(
    path: Path, data: bytes, frame: int | None = None, *, raw: bool = False, limit: int | None = None
) -> NDArray[Any]:
    """Return one frame as (height, width) or (height, width, 3) uint8; `data` are the bytes of `path`.

    Grey levels go through the rescale, then the VOI table or first window of the file. Without either, unsigned 8-bit
    levels stay as they are and others are stretched from their least to their greatest, padding left out. A rescale or
    window that is empty, a slope or a width of 0 are as if they were not there. Palettes of 16 bits whose entries are
    all below 256 hold 8-bit levels. MONOCHROME1 (white is nothing) is inverted. With `raw` the stored numbers are
    returned, which is what a mask needs.

    Raises ImageError when the file is damaged, holds no such frame, or several and none is named, has more than `limit`
    pixels, or is compressed in a way that needs a plugin;
    MissingDependencyError without pydicom.
    """
    pydicom = need("pydicom", extra="medical", purpose=f"{path}: reading DICOM")
    pixel_tools = need("pydicom.pixels", extra="medical", purpose=f"{path}: reading DICOM")
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        frame = check_frame(path, frame, frames_of(dataset))
        check_extent(path, int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0), limit)
        pixels = pixel_tools.pixel_array(dataset, index=frame)
        if raw:
            return np.asarray(pixels)
        with naming(str(path)):
            return shown(dataset, pixels, pixel_tools)
    except ImageError:
        raise
    # Damaged files make pydicom raise nearly anything; its message says which tag or plugin it missed.
    except Exception as error:
        raise ImageError(
            f"{path}: cannot be read as DICOM ({error}); export it again, uncompressed and with its pixel data, or "
            "install the decoder that the message names"
        ) from error


def count_dicom(path: Path, data: bytes) -> int:
    """How many frames there are in the bytes of a DICOM file; 1 for a damaged one."""
    pydicom = need("pydicom", extra="medical", purpose=f"{path}: reading DICOM")
    try:
        return frames_of(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True))
    except Exception:  # damaged files make pydicom raise nearly anything; `decode_dicom` says what
        return 1


def frames_of(dataset: Any) -> int:
    """How many frames a DICOM dataset has."""
    return int(dataset.get("NumberOfFrames") or 1)


def decode_nifti(path: Path, *, raw: bool = False, limit: int | None = None) -> NDArray[Any]:
    """Return a 2-D image, or a volume of one slice, as (height, width) uint8.

    The first voxel axis runs along the columns and the second down the rows, as converters of 2-D pictures write them;
    the affine's flips and rotations are not applied. Levels that are whole numbers in 0..255 stay as they are; others
    need a display window (`cal_min`, `cal_max`) in the header. With `raw` the stored numbers are returned, which is
    what a mask needs.

    Raises ImageError when the file is damaged, holds several slices or more than `limit` voxels, or has no window for
    its range;
    MissingDependencyError without nibabel.
    """
    nibabel = need("nibabel", extra="medical", purpose=f"{path}: reading NIfTI")
    try:
        picture = nibabel.load(path)
        check_extent(path, math.prod(picture.shape[1:]), picture.shape[0] if picture.shape else 0, limit)
        voxels = np.asarray(picture.dataobj)
        header = picture.header
        window = float(header["cal_min"]), float(header["cal_max"])
    except ImageError:
        raise
    # Damaged files make nibabel raise nearly anything: its own errors, EOFError, zlib.error, ValueError.
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as NIfTI ({error}); copy, download or export it again") from error
    shape = voxels.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[2:]) or voxels.dtype.kind not in "uif":
        raise ImageError(
            f"{path}: found {'x'.join(map(str, shape))} voxels of {voxels.dtype}; expected one 2-D slice of numbers: "
            "save the slice that was boxed as a file of its own"
        )
    pixels = voxels.reshape(shape[:2]).T
    if raw:
        return pixels
    if not np.isfinite(pixels).all():
        raise ImageError(f"{path}: found NaN or infinite voxels; replace them, for example with numpy.nan_to_num")
    if window[1] > window[0]:
        return to_uint8(pixels, *window)
    if pixels.min() < 0 or pixels.max() > 255 or (pixels != np.rint(pixels)).any():
        raise ImageError(
            f"{path}: found levels from {pixels.min():g} to {pixels.max():g} of {voxels.dtype} and no display window; "
            "expected whole grey levels 0..255: set the header's cal_min and cal_max, or rescale to uint8"
        )
    return np.ascontiguousarray(pixels, dtype=np.uint8)
