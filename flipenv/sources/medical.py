"""DICOM (pydicom) and NIfTI (nibabel), converted to 8 bits as a viewer shows them."""

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
from flipenv.sources.grey_levels import to_display, to_uint8


def decode_dicom(
    path: Path, data: bytes, frame: int | None = None, *, raw: bool = False, limit: int | None = None
) -> NDArray[Any]:
    """Return one frame as (height, width) or (height, width, 3) uint8; `data` are the bytes of `path`.

    Grey levels go through the rescale, then the VOI LUT or the first window. Without either, unsigned 8-bit levels are
    kept and others are stretched from min to max, padding excluded. An empty rescale or window, a slope of 0 and a
    width of 0 are ignored. 16-bit palettes with all entries below 256 are read as 8-bit. MONOCHROME1 is inverted. With
    `raw` the stored numbers are returned, as for a mask.

    Raises ImageError if the file is damaged, lacks the frame, has several frames and none is given, has more than
    `limit` pixels, or needs a missing decoder; MissingDependencyError without pydicom.
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
            return to_display(dataset, pixels, pixel_tools)
    except ImageError:
        raise
    # pydicom raises almost anything on damaged files; its message names the tag or plugin.
    except Exception as error:
        raise ImageError(
            f"{path}: cannot be read as DICOM ({error}); export it again, uncompressed and with its pixel data, or "
            "install the decoder that the message names"
        ) from error


def count_dicom(path: Path, data: bytes) -> int:
    """Number of frames in the bytes of a DICOM file; 1 if damaged."""
    pydicom = need("pydicom", extra="medical", purpose=f"{path}: reading DICOM")
    try:
        return frames_of(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True))
    except Exception:  # pydicom raises almost anything on damaged files; `decode_dicom` reports it
        return 1


def frames_of(dataset: Any) -> int:
    """Number of frames of a DICOM dataset."""
    return int(dataset.get("NumberOfFrames") or 1)


def decode_nifti(path: Path, *, raw: bool = False, limit: int | None = None) -> NDArray[Any]:
    """Return a 2-D image, or a volume of one slice, as (height, width) uint8.

    The first voxel axis is x and the second y, as converters of 2-D images write them; the affine is not applied. Whole
    numbers in 0..255 are kept; other levels need a display window (`cal_min`, `cal_max`) in the header. With `raw` the
    stored numbers are returned, as for a mask.

    Raises ImageError if the file is damaged, has several slices or more than `limit` voxels, or lacks a window for its
    range; MissingDependencyError without nibabel.
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
    # nibabel raises almost anything on damaged files: its own errors, EOFError, zlib.error, ValueError.
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as NIfTI ({error}); copy, download or export it again") from error
    shape = voxels.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[2:]) or voxels.dtype.kind not in "uif":
        raise ImageError(
            f"{path}: found {'x'.join(map(str, shape))} voxels of {voxels.dtype}; expected one 2-D slice of numbers: "
            "save the boxed slice as a separate file"
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
