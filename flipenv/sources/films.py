"""Read a film: DICOM cine loop, multi-page TIFF, slices of a NIfTI volume, or a folder with a file per frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flipenv.errors import ImageError, SourceError
from flipenv.pixels import Grey
from flipenv.sources.contents import check_extent, file_bytes, is_file, is_folder
from flipenv.sources.files import SUFFIXES, list_folder
from flipenv.sources.folders import natural_key
from flipenv.sources.medical import decode_dicom_film
from flipenv.sources.nifti import decode_nifti_film
from flipenv.sources.pictures import count_pages, decode_picture
from flipenv.sources.readers import check_axis, check_upright, is_dicom, is_nifti, one_channel, read_image


def read_film(path: str | os.PathLike[str], *, axis: str | None = None, limit: int | None = None) -> NDArray[np.uint8]:
    """Return the frames of a film, (T, height, width) uint8, each as `read_image` returns it.

    Args:
        path: DICOM, TIFF or NIfTI, or a folder whose images are the frames in natural order (2 before 10).
        axis: as `read_image`.
        limit: maximum number of pixels of all frames together; None for trusted files.

    Raises:
        SourceError: the file or folder is missing or unreadable, or the folder holds no image.
        ImageError: as `read_image`; the frames differ in size, are too many, or there is only one.
        MissingDependencyError: DICOM or NIfTI without `pip install flip-learning[medical]`.
    """
    path = Path(path)
    frames: list[Grey] = []
    for name, frame in _frames(path, axis, limit):
        if frames and frame.shape != frames[0].shape:
            raise ImageError(
                f"{name}: is {_size(frame)} (height x width), but the first frame is {_size(frames[0])}; expected "
                "frames of one size: take the others out"
            )
        frames.append(frame)
        if limit is not None:
            check_extent(path, len(frames) * frame.shape[0], frame.shape[1], limit)
    if len(frames) < 2:
        raise ImageError(f"{path}: has one frame; expected a film: a cine loop, a volume or a folder of frames")
    return np.stack(frames)


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order; SourceError if there is none."""
    inside = [file for file in list_folder(folder) if not file.name.startswith(".") and is_file(file)]
    files = [file for file in inside if file.name.lower().endswith(SUFFIXES)]
    if not files:
        raise SourceError(f"{folder}: holds no image; expected the frames of a film: {' '.join(SUFFIXES)}")
    return sorted(files, key=natural_key)


def _frames(path: Path, axis: str | None, limit: int | None) -> Iterator[tuple[str, Grey]]:
    """The frames, each with its name for errors."""
    if is_folder(path):
        check_axis(path, axis)
        for file in frame_files(path):
            yield str(file), read_image(file, limit=limit)
        return
    data = file_bytes(path)
    if is_nifti(path):
        for number, pixels in enumerate(decode_nifti_film(path, axis, limit)):
            yield f"{path} slice {number}", one_channel(pixels, path)
        return
    check_axis(path, axis)
    if is_dicom(path, data):
        for number, pixels in enumerate(decode_dicom_film(path, data, limit)):
            yield f"{path} frame {number}", one_channel(pixels, path)
        return
    for number in range(count_pages(data)):
        pixels, orientation = decode_picture(path, data, number, limit)
        check_upright(path, orientation, upright=False)
        yield f"{path} frame {number}", one_channel(pixels, path)


def _size(frame: Grey) -> str:
    return f"{frame.shape[0]}x{frame.shape[1]}"
