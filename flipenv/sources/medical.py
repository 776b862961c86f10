"""DICOM (pydicom), converted to 8 bits as a viewer shows it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError
from flipenv.sources.base import naming
from flipenv.sources.contents import check_extent, check_frame
from flipenv.sources.extras import need
from flipenv.sources.grey_levels import to_display


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
    with _opened(path, data) as dataset:
        return _frame(path, dataset, check_frame(path, frame, frames_of(dataset)), raw, limit)


def decode_dicom_film(path: Path, data: bytes, limit: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield all frames, each as `decode_dicom` returns it; raises as it does. `limit` counts the pixels of a frame."""
    with _opened(path, data) as dataset:
        for frame in range(frames_of(dataset)):
            yield _frame(path, dataset, frame, False, limit)


def _frame(path: Path, dataset: Any, frame: int, raw: bool, limit: int | None) -> NDArray[Any]:
    pixel_tools = need("pydicom.pixels", extra="medical", purpose=f"{path}: reading DICOM")
    check_extent(path, int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0), limit)
    pixels = pixel_tools.pixel_array(dataset, index=frame)
    if raw:
        return np.asarray(pixels)
    with naming(str(path)):
        return to_display(dataset, pixels, pixel_tools)


@contextmanager
def _opened(path: Path, data: bytes) -> Iterator[Any]:
    """Parse a file; errors within become ImageError."""
    pydicom = need("pydicom", extra="medical", purpose=f"{path}: reading DICOM")
    try:
        yield pydicom.dcmread(io.BytesIO(data))
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
