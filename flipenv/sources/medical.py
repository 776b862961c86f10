"""DICOM through pydicom and NIfTI through nibabel, shown in 8 bits as a viewer would show them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.sources.contents import check_extent, check_frame
from flipenv.sources.extras import need

FAR = 1e12  # beyond any stored value: what the window makes of it is the end of the window's range


def decode_dicom(
    path: Path, data: bytes, frame: int | None = None, *, raw: bool = False, limit: int | None = None
) -> NDArray[Any]:
    """Return one frame as (height, width) or (height, width, 3) uint8; `data` are the bytes of `path`.

    Grey levels go through the rescale, then the VOI table or first window of the file. Without either, unsigned 8-bit
    levels stay as they are and others are stretched from their least to their greatest. MONOCHROME1 (white is
    nothing) is inverted. With `raw` the stored numbers are returned, which is what a mask needs.

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
        return np.asarray(pixels) if raw else _shown(dataset, pixels, pixel_tools)
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


def _shown(dataset: Any, pixels: NDArray[Any], pixel_tools: Any) -> NDArray[np.uint8]:
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        pixels = pixel_tools.apply_color_lut(pixels, dataset)
        return (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
    if pixels.ndim == 3:
        return (pixels >> max(int(dataset.BitsStored) - 8, 0)).astype(np.uint8)
    levels = pixel_tools.apply_modality_lut(pixels, dataset)
    if dataset.get("VOILUTSequence"):
        levels = pixel_tools.apply_voi(np.rint(levels).astype(np.int64), dataset)
        low, high = 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        levels = pixel_tools.apply_windowing(levels, dataset)
        low, high = pixel_tools.apply_windowing(np.array([-FAR, FAR]), dataset)
    elif levels.dtype == np.uint8 or (levels.min() >= 0 and dataset.BitsStored <= 8 and levels.max() <= 255):
        low, high = 0.0, 255.0
    else:
        low, high = float(levels.min()), float(levels.max())
    shown = _to_uint8(levels, low, high)
    return 255 - shown if photometric == "MONOCHROME1" else shown


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
    if len(shape) < 2 or any(size != 1 for size in shape[2:]) or voxels.dtype.kind not in "uif":
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
        return _to_uint8(pixels, *window)
    if pixels.min() < 0 or pixels.max() > 255 or (pixels != np.rint(pixels)).any():
        raise ImageError(
            f"{path}: found levels from {pixels.min():g} to {pixels.max():g} of {voxels.dtype} and no display window; "
            "expected whole grey levels 0..255: set the header's cal_min and cal_max, or rescale to uint8"
        )
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _to_uint8(levels: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (levels.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny) * 255
    shown: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return shown
